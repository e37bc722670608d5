"""Issuing keys to those who are enrolled, revoking them, and knowing them again.

A key is ``chk_ID_SECRET``. The secret is 32 bytes of the system's random source, and what is kept is SHA-256 over a
salt and it. A slow hash such as argon2 makes it dear to guess a word that a person chose; 256 random bits are beyond
guessing at any speed, and a slow hash here would be a way to make the server work for strangers.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.errors import CallerUnknown, InputError
from chimera.guards.permissions.people import People
from chimera.store.audit import AuditLog
from chimera.store.keys import Key, KeyStore, Sealed
from chimera.store.postgres import Pool
from chimera.store.principals import Principal, PrincipalStore

PREFIX = "chk"
LABEL_MAX = 200
_FORM = re.compile(r"chk_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")
_SECRET_BYTES, _SALT_BYTES = 32, 16
_TELL_AGAIN_S, _TOLD_MAX = 60.0, 10_000
_NOBODY = Sealed(bytes(_SALT_BYTES), bytes(32))
"""What a secret is compared with when its key is unknown, so that this takes as long."""


@dataclass(frozen=True)
class Issued:
    """A new key. ``text`` is what its owner sends; it is shown once, and nobody can find it out again."""

    key: Key
    text: str


class Keys:
    """The keys of an installation."""

    def __init__(
        self,
        pool: Pool,
        people: People,
        principals: PrincipalStore,
        store: KeyStore,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._people = people
        self._principals = principals
        self._store = store
        self._audit = audit
        self._clock = clock
        self._told: dict[str, float] = {}

    async def issue(
        self, name: str, by: str, *, tenant: str = "default", label: str = "", lasts: timedelta | None = None
    ) -> Issued:
        """Issue a key to somebody who is enrolled.

        Raises:
            GuardRejected: ``by`` may not. InputError: nobody of that name is enrolled, or it would end at once.
        """
        await self._may(name, by, tenant)
        now = self._clock.now()
        if lasts is not None and not timedelta() < lasts <= timedelta(days=3_660):
            raise InputError("a key lasts for a time to come, and for ten years at most")
        number = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        secret, salt = secrets.token_bytes(_SECRET_BYTES), secrets.token_bytes(_SALT_BYTES)
        until = None if lasts is None else now + lasts
        key = Key(number, tenant, name, " ".join(label.split())[:LABEL_MAX], now, by[:LABEL_MAX], until)
        async with self._pool.connection() as connection, connection.transaction():
            await self._store.write(connection, key, Sealed(salt, _digest(salt, secret)))
            await self._audit.append_within(connection, key.told("principal.key-issued", by[:LABEL_MAX]))
        return Issued(key, f"{PREFIX}_{number}_{_text(secret)}")

    async def revoke(self, key_id: str, by: str, *, tenant: str = "default") -> Key:
        """Revoke a key of a tenant: no call with it counts from now on.

        Raises:
            GuardRejected: ``by`` may not. InputError: the tenant has no such key, or it was revoked before.
        """
        found = await self._store.find(key_id)
        if found is None or found[0].tenant != tenant:
            raise InputError(f"there is no key {key_id[:40]!r}", remedy="`chimera principal keys` lists them.")
        await self._may(found[0].principal, by, tenant)
        async with self._pool.connection() as connection, connection.transaction():
            gone = await self._store.revoke(connection, key_id, by[:LABEL_MAX], self._clock.now())
            if gone is None:
                raise InputError(f"the key {key_id} was revoked before")
            await self._audit.append_within(connection, gone.told("principal.key-revoked", by[:LABEL_MAX]))
        return gone

    async def owner(self, text: str) -> tuple[Principal, Key]:
        """Whose key that is, as the tables have it at this moment.

        Raises:
            CallerUnknown: it is no key, or one that no longer counts. StoreError: it cannot be known.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise CallerUnknown("that is no key")
        found = await self._store.find(form[1])
        key, sealed = found or (None, _NOBODY)
        is_its_secret = hmac.compare_digest(_digest(sealed.salt, _bytes(form[2])), sealed.digest)
        if key is None or not is_its_secret:
            raise CallerUnknown("there is no such key")
        if not key.counts(self._clock.now()):
            await self._tell_refused(key, "revoked" if key.revoked_at else "ended")
            raise CallerUnknown(f"the key {key.id} was revoked, or has ended")
        owner = await self._principals.find(key.tenant, key.principal)
        if owner is None or not owner.enrolled:
            await self._tell_refused(key, "not enrolled")
            raise CallerUnknown(f"whoever had the key {key.id} is not enrolled any more")
        return owner, key

    async def any_counts(self) -> bool:
        """Whether anybody has a key that counts."""
        return await self._store.any_counts(self._clock.now())

    async def listed(self, tenant: str, name: str | None = None) -> list[Key]:
        """The keys of a tenant, or of one of its principals; those that no longer count too."""
        return await self._store.listed(tenant, name)

    async def _tell_refused(self, key: Key, why: str) -> None:
        """Put it on the record, once a minute for each key: whoever has an old key must not fill the record."""
        now = self._clock.monotonic()
        if now - self._told.get(key.id, -_TELL_AGAIN_S) < _TELL_AGAIN_S or len(self._told) >= _TOLD_MAX:
            return
        self._told[key.id] = now
        await self._audit.append(key.told("server.refused", key.principal, why=why))

    async def _may(self, name: str, by: str, tenant: str) -> None:
        await self._people.look(tenant, by)  # the local user is there from the first look on
        found = await self._principals.find(tenant, name)
        target = self._people.entity(found) if found is not None and found.enrolled else None
        if target is None:
            raise InputError(f"nobody is enrolled as {name[:60]!r}", remedy="`chimera principal ls` says who is.")
        await self._people.require(by, "principal.key", target, tenant)


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hashlib.sha256(salt + secret).digest()


def _text(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """The secret that is written so; nothing for a text that is only read as one: its last bits have one form."""
    secret = base64.urlsafe_b64decode(text + "=")
    return secret if _text(secret) == text else b""
