"""What makes guessing passwords slow: tries by address, shut doors by name, and browsers that were let in before.

A name's door is shut for longer and longer after wrong passwords, whether anybody has that name or not: else the shut
door would tell who there is. Somebody who guesses from elsewhere could so keep a person out; a browser in which that
person has logged in before is therefore let through a shut door, and counted by itself. It shows a mark that only
whoever keeps the password's hash can make, and that ends with the password (OWASP, "Slow Down Online Guessing Attacks
with Device Cookies"). All counts are of one process and bounded, but those of real names, which are in the database.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from chimera.core.clock import Clock
from chimera.core.errors import LoginBusy

TRIES_PER_MINUTE, TRIES_AT_ONCE = 30, 10
"""Of one address, for all names together."""
KNOWN_PER_MINUTE, KNOWN_AT_ONCE = 6, 6
"""Of one browser that has been let in before, at a shut door."""
CLOSED = [timedelta()] * 4 + [timedelta(seconds=2**n) for n in range(9)]
"""How long a name's door is shut after so many wrong passwords: from the fifth on, 1 s to 256 s, and never for good."""
KEPT = 10_000
_MARK_MAX = 100


class Guessing:
    """The counts of one process. Who tried longest ago is forgotten first."""

    def __init__(self, clock: Clock, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._full: OrderedDict[str, float] = OrderedDict()
        self._unknown: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def admit(self, address: str) -> None:
        """Count a try from an address; of IPv6, from its network.

        Raises:
            LoginBusy: there were too many; its context ``wait_s`` says how long to wait.
        """
        self._take(f"address {_network(address)}", TRIES_PER_MINUTE, TRIES_AT_ONCE)

    def admit_known(self, mark: str) -> None:
        """Count a try of a browser with that mark at a shut door.

        Raises:
            LoginBusy: there were too many.
        """
        self._take(f"mark {mark}", KNOWN_PER_MINUTE, KNOWN_AT_ONCE)

    def pass_unknown(self, tenant: str, name: str) -> None:
        """Stand before the door of a name that nobody has.

        Raises:
            LoginBusy: it is shut.
        """
        wait = self._unknown.get((tenant, name), (0, 0.0))[1] - self._clock.monotonic()
        if wait > 0:
            raise shut(wait)

    def fail_unknown(self, tenant: str, name: str) -> None:
        """Count a wrong password for a name that nobody has."""
        failures = self._unknown.get((tenant, name), (0, 0.0))[0] + 1
        closed = CLOSED[min(failures, len(CLOSED)) - 1].total_seconds()
        self._unknown[tenant, name] = failures, self._clock.monotonic() + closed
        self._unknown.move_to_end((tenant, name))
        while len(self._unknown) > self._kept:
            self._unknown.popitem(last=False)

    def _take(self, name: str, per_minute: int, at_once: int) -> None:
        """Take one try, by the generic cell rate algorithm."""
        now, cost = self._clock.monotonic(), 60 / per_minute
        full = max(self._full.get(name, 0.0), now) + cost
        wait = full - at_once * cost - now
        if wait > 0:
            raise LoginBusy("too many tries", wait_s=wait)
        self._full[name] = full
        self._full.move_to_end(name)
        while len(self._full) > self._kept:
            self._full.popitem(last=False)


def shut(wait_s: float) -> LoginBusy:
    """The answer at a shut door; it is the same whether anybody has the name."""
    return LoginBusy("too many wrong passwords", wait_s=wait_s)


def mark_of(tenant: str, name: str, hashed: str) -> str:
    """A new mark for a browser in which somebody has shown his password. ``hashed``: what is kept of it."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_seal(nonce, tenant, name, hashed)}"


def is_mark(mark: str, tenant: str, name: str, hashed: str) -> bool:
    """Whether a mark was made for somebody, and since he chose that password."""
    if not 0 < len(mark) <= _MARK_MAX:
        return False
    nonce, _, seal = mark.partition(".")
    return hmac.compare_digest(seal.encode(), _seal(nonce, tenant, name, hashed).encode())


def _seal(nonce: str, tenant: str, name: str, hashed: str) -> str:
    key = hashlib.sha256(b"known browser " + hashed.encode()).digest()
    return hmac.digest(key, "\0".join((nonce, tenant, name)).encode(errors="replace"), "sha256").hex()


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address[:_MARK_MAX]
    return str(found) if not isinstance(found, IPv6Address) else found.exploded[:19]
