"""Payers of one chain share the payments, and what a lost one had is with the others.

Proves FR-674.
"""

from chimera.commerce.shares import SHARES, Shares
from chimera.store.postgres import connect, open_pool

CHAIN = 424_242


async def test_payers_share_and_take_over(shared_database_url: str) -> None:
    async with open_pool(shared_database_url, 4) as pool:
        one, other = Shares(pool, CHAIN), Shares(pool, CHAIN)
        assert await one.mine() == list(range(SHARES))
        assert await other.mine() == []
        first = await one.mine()
        second = await other.mine()
        assert len(first) == len(second) == SHARES // 2
        assert set(first).isdisjoint(second)
        await other.leave()
        assert await one.mine() == list(range(SHARES))
        await one.leave()


async def test_a_payer_whose_connection_is_lost_leaves_its_part(shared_database_url: str) -> None:
    """As with kill -9: the server ends the session, and with it the locks."""
    async with open_pool(shared_database_url, 4) as pool:
        one, other = Shares(pool, CHAIN + 1), Shares(pool, CHAIN + 1)
        await one.mine()
        await _end_locks(shared_database_url, one)
        assert await other.mine() == list(range(SHARES))
        await other.leave()
        await one.leave()


async def test_payers_of_other_chains_share_nothing(shared_database_url: str) -> None:
    async with open_pool(shared_database_url, 4) as pool:
        one, other = Shares(pool, CHAIN + 2), Shares(pool, CHAIN + 3)
        assert await one.mine() == await other.mine() == list(range(SHARES))
        await one.leave()
        await other.leave()


async def _end_locks(url: str, shares: Shares) -> None:
    connection = await connect(url)
    query = (
        b"SELECT pg_terminate_backend(pid, 5000) FROM pg_locks "
        b"WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
    )
    await connection.execute(query, (shares._place, SHARES))  # pyright: ignore[reportPrivateUsage]
    await connection.close()
