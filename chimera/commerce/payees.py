"""Who can be paid: names with their addresses, which people set and agents only look up. No name is ever guessed."""

import unicodedata
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from chimera.commerce.addresses import checked_address
from chimera.commerce.owner import as_owner, become
from chimera.core.errors import ConflictError, InputError, PayeeUnknown
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch

NAME_MAX = 120
OFF_CHAIN = 0
_SOME = "SELECT tenant, name, chain_id, address, owner FROM payees WHERE tenant = %s AND removed_at IS NULL"
_ADD = b"""
    INSERT INTO payees (tenant, name, chain_id, address, owner, added_by) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant, name, chain_id) DO UPDATE SET address = excluded.address, owner = excluded.owner,
        added_by = excluded.added_by, added_at = clock_timestamp(), removed_by = NULL, removed_at = NULL
    WHERE payees.removed_at IS NOT NULL
    RETURNING name
"""
_REMOVE = b"""
    UPDATE payees SET removed_by = %s, removed_at = clock_timestamp()
    WHERE (tenant, name, chain_id) = (%s, %s, %s) AND removed_at IS NULL RETURNING name
"""


@dataclass(frozen=True)
class Payee:
    """Somebody who can be paid. ``chain_id`` 0: on a rail outside of chains. ``owner``: who is behind it."""

    tenant: str
    name: str
    chain_id: int
    address: str
    owner: str

    def plain(self) -> dict[str, Any]:
        """The payee as JSON data."""
        return asdict(self)


class Payees:
    """Reads the table ``payees``: all that payments need of it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def listed(self, tenant: str) -> list[Payee]:
        """Everybody who can be paid, by name."""
        return [Payee(**row) for row in await fetch(self._pool, f"{_SOME} ORDER BY name", (tenant,))]

    async def named(self, tenant: str, name: str, chain_id: int | None) -> Payee:
        """Who is meant by a name on a chain.

        Raises:
            PayeeUnknown: nobody; with the payee whose name only looks the same, if there is one.
        """
        plain, place = payee_name(name), chain_id or OFF_CHAIN
        found = await fetch(self._pool, f"{_SOME} AND name = %s AND chain_id = %s", (tenant, plain, place))
        if found:
            return Payee(**found[0])
        known = await self.listed(tenant)
        where = f"on chain {place}" if place else "outside of chains"
        elsewhere = sorted({one.chain_id for one in known if one.name == plain})
        if elsewhere:
            raise PayeeUnknown(f"{plain[:60]!r} is paid on {', '.join(map(str, elsewhere))}, and not {where}")
        alike = next((one.name for one in known if skeleton(one.name) == skeleton(plain)), None)
        odd = odd_characters(plain)
        why = (
            f": it looks like {alike!r} and has {odd or 'other characters'}"
            if alike
            else f": it has {odd}"
            if odd
            else ""
        )
        raise PayeeUnknown(f"nobody is registered as {plain[:60]!r} {where}{why}")

    async def at(self, tenant: str, address: str, chain_id: int | None) -> Payee | None:
        """Who has an address on a chain; None if nobody is registered with it."""
        place = chain_id or OFF_CHAIN
        query = f"{_SOME} AND chain_id = %s AND lower(address) = lower(%s) ORDER BY name"
        found = [Payee(**row) for row in await fetch(self._pool, query, (tenant, place, address))]
        # Capitals are a checksum on chains, and may mean something elsewhere.
        return next((one for one in found if place or one.address == address), None)

    async def near(self, tenant: str, address: str, chain_id: int) -> list[Payee]:
        """Who has an address that begins and ends with the same two characters; by index, whatever their number."""
        look = address[2:4].lower() + address[-2:].lower()
        query = f"{_SOME} AND chain_id = %s AND substr(lower(address), 3, 2) || right(lower(address), 2) = %s"
        return [Payee(**row) for row in await fetch(self._pool, query, (tenant, chain_id, look))]


class PayeeBook(Payees):
    """Writes it too, for people."""

    def __init__(self, pool: Pool, audit: AuditLog) -> None:
        super().__init__(pool)
        self._audit = audit

    async def add(
        self, tenant: str, name: str, address: str, by: str, *, chain_id: int | None = None, owner: str = ""
    ) -> Payee:
        """Let somebody be paid; whoever may ask for that is decided by the permissions, before.

        Raises:
            InputError: the name or the address cannot be. ConflictError: the name, or one that looks the same, is
            taken. GuardRejected: the connected database role may not.
        """
        plain = payee_name(name)
        if (odd := odd_characters(plain)) is not None:
            raise InputError(f"the name {name[:60]!r} has {odd}", remedy="Write it in the letters that it is known by.")
        if chain_id:
            checked_address(address)
        made = Payee(tenant, plain, chain_id or OFF_CHAIN, address, payee_name(owner or name))
        alike = [
            one for one in await self.listed(tenant) if skeleton(one.name) == skeleton(plain) and one.name != plain
        ]
        if alike:
            raise ConflictError(f"{plain!r} looks like the payee {alike[0].name!r}")
        async with as_owner(self._pool) as (connection, me):
            values = (tenant, made.name, made.chain_id, made.address, made.owner, by[:200])
            added = await (await connection.execute(_ADD, values)).fetchone()
            if added is not None:
                await become(connection, me)
                data = {**made.plain(), "done": "added"}
                await self._audit.append_within(
                    connection, AuditEvent(kind="money.payee", actor=by[:200], tenant=tenant, data=data)
                )
        if await self.named(tenant, plain, chain_id) != made:
            raise ConflictError(f"the payee {plain!r} has another address", remedy="Remove it first, then add it anew.")
        return made

    async def remove(self, tenant: str, name: str, by: str, *, chain_id: int | None = None) -> None:
        """Let nobody be paid under that name any more.

        Raises:
            PayeeUnknown: nobody was. GuardRejected: the connected database role may not.
        """
        plain, place = payee_name(name), chain_id or OFF_CHAIN
        async with as_owner(self._pool) as (connection, me):
            row = await (await connection.execute(_REMOVE, (by[:200], tenant, plain, place))).fetchone()
            if row is None:
                raise PayeeUnknown(f"there is no payee {plain!r}")
            await become(connection, me)
            data = {"tenant": tenant, "name": plain, "chain_id": place, "done": "removed"}
            await self._audit.append_within(
                connection, AuditEvent(kind="money.payee", actor=by[:200], tenant=tenant, data=data)
            )


def payee_name(name: str) -> str:
    """A name as it is compared: in lower case, its spaces single.

    Raises:
        InputError: it is no text of 1 to 120 characters that can be seen, or would be read differently when normalised.
    """
    plain = " ".join(name.split()).lower()
    if not 0 < len(plain) <= NAME_MAX or unicodedata.normalize("NFKC", plain) != plain or not plain.isprintable():
        raise InputError(
            f"{name[:60]!r} is no name of a payee", remedy="Write 1 to 120 letters and digits as they are."
        )
    return plain


def odd_characters(name: str) -> str | None:
    """What makes a name look like another one: letters of another script that look Latin. None for an honest name."""
    from confusable_homoglyphs.confusables import is_confusable

    found = is_confusable(name, greedy=True, preferred_aliases=["latin"])
    letters = sorted({str(one["character"]) for one in found or [] if str(one["character"]).isalpha()})
    return f"letters that only look Latin: {', '.join(f'U+{ord(one):04X}' for one in letters)}" if letters else None


def skeleton(name: str) -> str:
    """A name as it looks: letters that look like Latin ones as those."""
    return "".join(_shape(char) for char in name)


@lru_cache(4096)
def _shape(char: str) -> str:
    from confusable_homoglyphs.confusables import confusables_data

    if char.isascii():
        return "l" if char in "1i|" else "o" if char == "0" else char
    letters = (str(one["c"]) for one in confusables_data.get(char, ()))
    return next((_shape(one.lower()) for one in letters if one.isascii() and one.isalpha()), char)
