"""What can be paid with: each asset with its chain, its address and its decimals.

An asset is named by its id (CAIP-19), never by its symbol alone where that could mean two: anybody can make a token
that calls itself USDC. What was added never changes, so an amount that was written keeps its meaning.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from chimera.commerce.owner import as_owner, become
from chimera.core.errors import ConflictError, InputError
from chimera.core.money import MOST_DECIMALS, checked_units, read_units, write_units
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch

_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,11}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_ALL = "SELECT id, symbol, chain_id, address, decimals FROM assets ORDER BY id"
_ADD = b"""
    INSERT INTO assets (id, symbol, chain_id, address, decimals) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING RETURNING id
"""
USD = "iso4217:USD"
"""The id of dollars outside of chains, which every ledger has; a millionth is their unit, as in prices of models."""


@dataclass(frozen=True)
class Asset:
    """One asset. ``chain_id`` None: money on a rail outside of chains; ``address`` None: the chain's own coin."""

    id: str
    symbol: str
    decimals: int
    chain_id: int | None = None
    address: str | None = None

    def units(self, amount: object, *, positive: bool = True) -> int:
        """The atomic units of an amount written as a decimal number in text, exactly.

        Raises:
            InputError: it is none, has more decimals than the asset, is too large, or zero with ``positive``.
        """
        return read_units(amount, self.decimals, self.symbol, positive=positive)

    def checked(self, units: object, *, positive: bool = True) -> int:
        """A number of atomic units as it is, if it can be one.

        Raises:
            InputError: it cannot.
        """
        return checked_units(units, self.symbol, positive=positive)

    def shown(self, units: int) -> str:
        """Atomic units for people, exactly: ``0.25 USDC``."""
        return f"{write_units(units, self.decimals)} {self.symbol}"

    def plain(self) -> dict[str, Any]:
        """The asset as JSON data."""
        return asdict(self)


def on_chain(symbol: str, chain_id: int, decimals: int, address: str | None = None) -> Asset:
    """An asset of a chain of the EVM, with its id: ``eip155:1/erc20:0x...`` or ``eip155:1/native``.

    Raises:
        InputError: no such asset can be.
    """
    place = f"erc20:{address.lower()}" if address is not None else "native"
    made = Asset(f"eip155:{chain_id}/{place}", symbol, decimals, chain_id, address)
    check_asset(made)
    return made


def check_asset(asset: Asset) -> None:
    """Let an asset pass that can be one.

    Raises:
        InputError: it cannot.
    """
    if not _SYMBOL.fullmatch(asset.symbol):
        raise InputError(
            f"{asset.symbol[:40]!r} is no symbol of an asset", remedy="Use 1 to 12 ASCII letters and digits."
        )
    if isinstance(asset.decimals, bool) or not 0 <= asset.decimals <= MOST_DECIMALS:
        raise InputError(f"an asset has 0 to {MOST_DECIMALS} decimals, not {asset.decimals}")
    if asset.chain_id is not None and not 0 < asset.chain_id < 2**63:
        raise InputError(f"{asset.chain_id} is no id of a chain")
    if asset.address is not None and (asset.chain_id is None or not _ADDRESS.fullmatch(asset.address)):
        raise InputError(
            f"{asset.address[:60]!r} is no address of a token", remedy="Write 0x and 40 hexadecimal digits."
        )


class AssetStore:
    """Reads and writes the table ``assets``."""

    def __init__(self, pool: Pool, audit: AuditLog) -> None:
        self._pool = pool
        self._audit = audit
        self._known: dict[str, Asset] = {}

    async def add(self, asset: Asset, by: str) -> Asset:
        """Add an asset; one that is there already, the same, stays.

        Raises:
            InputError: no asset can be like that. ConflictError: there is another one of that id.
            GuardRejected: the connected database role may not.
        """
        check_asset(asset)
        async with as_owner(self._pool) as (connection, me):
            cursor = await connection.execute(
                _ADD, (asset.id, asset.symbol, asset.chain_id, asset.address, asset.decimals)
            )
            if await cursor.fetchone() is not None:
                await become(connection, me)
                event = AuditEvent(kind="money.asset", actor=by, data=asset.plain())
                await self._audit.append_within(connection, event)
        if (there := await self.get(asset.id)) != asset:
            raise ConflictError(f"there is another asset {asset.id}: {there.symbol} with {there.decimals} decimals")
        return asset

    async def listed(self) -> list[Asset]:
        """Every asset, by id."""
        rows = await fetch(self._pool, _ALL)
        return [Asset(**row) for row in rows]

    async def get(self, asset_id: str) -> Asset:
        """The asset of that id. What was found is kept: assets never change.

        Raises:
            InputError: there is none.
        """
        if asset_id not in self._known:
            self._known |= {asset.id: asset for asset in await self.listed()}
        if asset_id not in self._known:
            raise InputError(f"there is no asset {asset_id[:80]!r}", remedy="`chimera ledger assets` lists them.")
        return self._known[asset_id]

    async def named(self, name: str, chain_id: int | None = None) -> Asset:
        """The asset of an id, or of a symbol that means one asset only, of a chain where that is given.

        Raises:
            InputError: there is none, or several are called so.
        """
        found = [asset for asset in await self.listed() if name in (asset.id, asset.symbol)]
        found = [asset for asset in found if chain_id is None or asset.chain_id == chain_id]
        if len(found) == 1:
            return found[0]
        remedy = "`chimera ledger assets` lists them; name one by its id."
        if found:
            raise InputError(f"{name[:80]!r} could be {', '.join(asset.id for asset in found)[:300]}", remedy=remedy)
        on = f" on chain {chain_id}" if chain_id is not None else ""
        raise InputError(f"there is no asset {name[:80]!r}{on}", remedy=remedy)
