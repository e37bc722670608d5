"""Who is enrolled without anybody's doing: what an installation cannot begin without.

A single-user installation, the one with the embedded database, has the local user as its operator; whoever can reach
its database could change anything in it. Every installation knows the scripted reviewer, which says that it is no
human and may do little. Both can be removed, and neither comes back by itself.
"""

import getpass
import os
from dataclasses import dataclass

from chimera.core.clock import Clock
from chimera.core.settings import Settings
from chimera.review.reviewers import SCRIPTED
from chimera.store.audit import AuditLog
from chimera.store.principals import Principal, PrincipalStore, named

ITSELF = "chimera"
"""Who enrolled them, on the record."""
OPERATOR, STAND_IN = "operator", "stand-in"


def local_user() -> str:
    """The name of the account that this process runs as."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # not a Unix, or an account without a name, as in some containers
        pass
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown user"


@dataclass(frozen=True)
class FirstStart:
    """Enrols whom an installation enrols by itself, once in each tenant.

    ``operator``: the local user of a single-user installation; None where there may be many users.
    """

    store: PrincipalStore
    audit: AuditLog
    clock: Clock
    operator: str | None

    @staticmethod
    def of(settings: Settings) -> str | None:
        """The operator that an installation with these settings has by itself."""
        return local_user() if settings.database_url is None else None

    def concerns(self, name: str) -> bool:
        """Whether somebody of that name is enrolled by itself."""
        return name == SCRIPTED or (self.operator is not None and name == self.operator)

    async def enrol(self, tenant: str = "default") -> list[Principal]:
        """Enrol those who are missing; the local user only where no human is or ever was. Who was removed stays so.

        Raises:
            StoreError: nobody was enrolled.
        """
        known = await self.store.find(tenant, SCRIPTED)
        if known is not None and (self.operator is None or await self.store.has_had_people(tenant)):
            return []
        made: list[Principal] = []
        async with self.store.changing(tenant) as (connection, there):
            at = self.clock.now()
            if named(there, SCRIPTED) is None:
                made.append(Principal(tenant, SCRIPTED, "service", (STAND_IN,), at, ITSELF))
            if self.operator and named(there, self.operator) is None and all(one.kind != "human" for one in there):
                made.append(Principal(tenant, self.operator, "human", (OPERATOR,), at, ITSELF))
            for principal in made:
                await self.store.write(connection, principal)
            if made:
                events = [one.told("principal.enrolled", ITSELF, by_itself=True) for one in made]
                await self.audit.append_within(connection, *events)
        return made
