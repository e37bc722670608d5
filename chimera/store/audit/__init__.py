"""The tamper-evident record: an append-only hash chain per tenant, with signed checkpoints.

``log`` appends, ``chain`` verifies, ``signing`` holds the key, ``checkpoints`` what it signed; ``kinds`` and ``owasp``
say what the events mean, ``export``, ``ocsf`` and ``report`` hand them on.
"""

from chimera.store.audit.event import GENESIS, AuditEvent
from chimera.store.audit.log import AuditLog

__all__ = ["GENESIS", "AuditEvent", "AuditLog"]
