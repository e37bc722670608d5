"""People who log in with a password: invited once, known by a session, and slowed down when they guess.

Passwords are kept as argon2id hashes with the second recommended option of RFC 9106, section 4 (64 MiB, three passes).
Sessions and invitations are 32 bytes of the system's random source; what is kept of them is their SHA-256, which is
enough for what cannot be guessed. A session is made anew at each login, so none that somebody planted ever counts.
"""

import asyncio
import base64
import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.errors import InputError, InvitationOver, LoginRefused
from chimera.guards.permissions.guessing import CLOSED, Guessing, is_mark, mark_of, shut
from chimera.guards.permissions.people import People
from chimera.store.accounts import AccountStore
from chimera.store.audit import AuditLog
from chimera.store.postgres import Connection, Pool
from chimera.store.principals import Principal, PrincipalStore

PASSWORD_LEAST, PASSWORD_MOST = 12, 200
INVITED_FOR = timedelta(hours=24)
_HASHES_AT_ONCE = 2


@dataclass(frozen=True)
class Login:
    """Somebody who is logged in; ``token`` is what his browser keeps, and ``mark`` what it shows at his next login."""

    person: Principal
    token: str
    mark: str = ""

    @property
    def csrf(self) -> str:
        """What his pages say to show that they are ours; of the token, and nothing from which it could be found."""
        return _text(hashlib.sha256(b"csrf " + self.token.encode()).digest())


class Accounts:
    """The accounts of an installation. ``idle``: how long without a request ends a session; ``lasts``: at most."""

    def __init__(
        self,
        pool: Pool,
        people: People,
        principals: PrincipalStore,
        audit: AuditLog,
        clock: Clock,
        *,
        idle: timedelta,
        lasts: timedelta,
    ) -> None:
        self._pool = pool
        self._people = people
        self._principals = principals
        self._audit = audit
        self._clock = clock
        self._idle, self._lasts = idle, lasts
        self.store = AccountStore(pool)
        self.guessing = Guessing(clock)
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)

    async def invite(self, name: str, by: str, *, tenant: str = "default") -> str:
        """Invite a human who is enrolled to choose a password; return what the link says. It counts once, for a day.

        Raises:
            GuardRejected: ``by`` may not. InputError: no human of that name is enrolled.
        """
        return await self.written(await self._may(name, by, tenant), by)

    async def written(self, person: Principal, by: str) -> str:
        """An invitation of somebody, for whom it was asked before whether ``by`` may invite him."""
        tenant, name = person.tenant, person.name
        token, now = _text(secrets.token_bytes(32)), self._clock.now()
        async with self._pool.connection() as connection, connection.transaction():
            await self.store.invite(connection, _digest(token), tenant, name, by[:200], now, now + INVITED_FOR)
            await self._audit.append_within(connection, person.told("principal.invited", by[:200]))
        return token

    async def invited(self, token: str) -> tuple[str, str]:
        """Tenant and name of whom an invitation is for.

        Raises:
            InvitationOver: it does not count.
        """
        found = await self.store.invited(_digest(token), self._clock.now())
        if found is None:
            raise InvitationOver("this invitation was used, has ended, or never was one")
        return found

    async def redeem(self, token: str, password: str) -> Login:
        """Choose a password by an invitation, and be logged in; sessions and failures from before are gone.

        Raises:
            InvitationOver: it does not count. InputError: the password cannot be used. LoginRefused: whoever was
            invited is not enrolled any more.
        """
        tenant, name = await self.invited(token)
        _check(password, name)
        person = await self._enrolled(tenant, name)
        hashed = await self._hashed(password)
        now, session = self._clock.now(), _text(secrets.token_bytes(32))
        async with self._pool.connection() as connection, connection.transaction():
            if await self.store.redeem(connection, _digest(token), hashed, now) is None:
                raise InvitationOver("this invitation was used a moment ago")
            await self.store.end_all(connection, tenant, name)
            await self.store.began(connection, _digest(session), tenant, name, now)
            events = (person.told("principal.password-set", name), person.told("principal.logged-in", name))
            await self._audit.append_within(connection, *events)
        return Login(person, session, mark_of(tenant, name, hashed))

    async def login(self, tenant: str, name: str, password: str, address: str, mark: str = "") -> Login:
        """Log somebody in. ``address``: where the request comes from; ``mark``: what his browser got at a login before.

        Raises:
            LoginRefused: name or password is wrong; which, nobody is told. LoginBusy: too many tries; its context
            ``wait_s`` says how long to wait.
        """
        self.guessing.admit(address)
        now, account = self._clock.now(), await self.store.find(tenant, name)
        if account is None:
            self.guessing.pass_unknown(tenant, name)
            await self._is_it(None, password)  # where there is no account it takes as long
            self.guessing.fail_unknown(tenant, name)
            raise LoginRefused("name or password is wrong")
        if account.closed_till is not None and account.closed_till > now:
            if not is_mark(mark, tenant, name, account.password):
                raise shut((account.closed_till - now).total_seconds())
            self.guessing.admit_known(mark)
        if not await self._is_it(account.password, password):
            failures = await self.store.failed(tenant, name, CLOSED, now)
            if failures == 1 or failures % 5 == 0:  # a guesser must not fill the record
                await self._tell_refused(tenant, name, failures)
            raise LoginRefused("name or password is wrong")
        login = await self.vouched(await self._enrolled(tenant, name), by="password")
        return replace(login, mark=mark_of(tenant, name, account.password))

    async def vouched(self, person: Principal, *, by: str) -> Login:
        """Begin a session of somebody whose identity was just proven. ``by``: what proved it, for the record."""
        token = _text(secrets.token_bytes(32))
        async with self._pool.connection() as connection, connection.transaction():
            await self.store.began(connection, _digest(token), person.tenant, person.name, self._clock.now())
            await self._audit.append_within(connection, person.told("principal.logged-in", person.name, by=by))
        return Login(person, token)

    async def logins(self, tenant: str) -> tuple[set[str], dict[str, int]]:
        """Who in a tenant has a password, and in how many browsers each is logged in now."""
        now = self._clock.now()
        return await self.store.logins(tenant, now - self._lasts, now - self._idle)

    async def forget(self, connection: Connection, tenant: str, name: str) -> None:
        """Forget in a transaction the password, the sessions and the invitations of somebody."""
        await self.store.forget(connection, tenant, name)

    async def end_all(self, name: str, by: str, *, tenant: str = "default") -> int:
        """End all sessions of somebody, wherever he is logged in; how many there were.

        Raises:
            GuardRejected: ``by`` may not. InputError: nobody of that name is enrolled.
        """
        found = await self._may(name, by, tenant)
        async with self._pool.connection() as connection, connection.transaction():
            ended = await self.store.end_all(connection, tenant, name)
            if ended:
                await self._audit.append_within(
                    connection, found.told("principal.logged-out", by[:200], sessions=ended)
                )
        return ended

    async def known(self, token: str) -> Login | None:
        """Who is logged in with that, as the tables have it at this moment; None when nobody is."""
        now = self._clock.now()
        session = await self.store.session(_digest(token), now - self._lasts, now - self._idle, now)
        if session is None:
            return None
        person = await self._principals.find(session.tenant, session.name)
        return Login(person, token) if person is not None and person.enrolled else None

    async def logout(self, token: str, *, everywhere: bool = False) -> None:
        """End a session, or all of whoever it belongs to; harmless when it is over."""
        async with self._pool.connection() as connection, connection.transaction():
            ended = await self.store.end(connection, _digest(token))
            if ended is None:
                return
            if everywhere:
                await self.store.end_all(connection, ended.tenant, ended.name)
            person = await self._principals.find(ended.tenant, ended.name)
            if person is not None:
                await self._audit.append_within(connection, person.told("principal.logged-out", ended.name))

    async def _may(self, name: str, by: str, tenant: str) -> Principal:
        await self._people.look(tenant, by)  # the local user is there from the first look on
        found = await self._principals.find(tenant, name)
        target = self._people.entity(found) if found is not None and found.enrolled else None
        if found is None or target is None or found.kind != "human":
            raise InputError(f"no human is enrolled as {name[:60]!r}", remedy="`chimera principal ls` says who is.")
        await self._people.require(by, "principal.key", target, tenant)
        return found

    async def _enrolled(self, tenant: str, name: str) -> Principal:
        person = await self._principals.find(tenant, name)
        if person is None or not person.enrolled:
            raise LoginRefused("name or password is wrong")
        return person

    async def _tell_refused(self, tenant: str, name: str, failures: int) -> None:
        person = await self._principals.find(tenant, name)
        if person is not None:
            await self._audit.append(person.told("principal.login-refused", name, failures=failures))

    async def _hashed(self, password: str) -> str:
        from argon2 import PasswordHasher

        async with self._hashing:
            return await asyncio.to_thread(PasswordHasher().hash, password)

    async def _is_it(self, hashed: str | None, password: str) -> bool:
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        if len(password) > PASSWORD_MOST:
            return False
        async with self._hashing:
            try:  # where there is no account it takes as long
                return await asyncio.to_thread(PasswordHasher().verify, hashed or _NOBODY, password) and bool(hashed)
            except (Argon2Error, InvalidHashError):
                return False


_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$22bhhaafCfj5bEDL1G7N2Q$KwbfcPAhPrrv+jp5uoeWvsIMHcSBKhH6/YkKP14WZqQ"
"""The hash of a word that nobody has."""


def _check(password: str, name: str) -> None:
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise InputError(f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters", remedy="Choose another.")
    if name.casefold() in password.casefold() or len(set(password)) < 5:
        raise InputError("that password is easy to guess", remedy="Several words that do not belong together are good.")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _text(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")
