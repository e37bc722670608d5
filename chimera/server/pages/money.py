"""Money: balances, budgets with what is used of them, payments, and every movement. Nothing is changed here."""

from collections.abc import AsyncGenerator, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from chimera.commerce.assets import Asset, AssetStore
from chimera.commerce.budget_use import budgets_of
from chimera.commerce.history import Search, search_history
from chimera.commerce.statement import Wanted, as_csv, balances, entries, newest
from chimera.core.money import grouped
from chimera.server.pages.boards import MONEY, require_shown, whole_number
from chimera.server.pages.shell import HEADERS, Section, Shell
from chimera.server.pages.visitors import Visitor

SECTION = Section("Money", "/money", MONEY)
ROWS, PAYMENTS = 100, 20
_CSV = {**HEADERS, "Content-Disposition": 'attachment; filename="statement.csv"'}


class MoneyPage:
    """The books of the visitor's tenant."""

    section: Section | None = SECTION

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read = self._shell.reading
        return [
            Route("/money", read(self._page), methods=["GET"]),
            Route("/money/statement.csv", read(self._csv), methods=["GET"]),
        ]

    async def _page(self, request: Request, known: Visitor) -> Response:
        require_shown(SECTION, known)
        pool, tenant = self._shell.app.pool, known.tenant
        before = whole_number(request.query_params.get("before"))
        rows = await newest(pool, tenant, ROWS, before)
        return self._shell.render(
            request,
            "money.html",
            known,
            assets=await self._assets(),
            grouped=grouped,
            balances=await balances(pool, tenant),
            budgets=await budgets_of(pool, tenant),
            payments=await search_history(pool, Search(tenant, limit=PAYMENTS)),
            rows=rows,
            before=before,
            further=rows[-1].seq if len(rows) == ROWS else None,
        )

    async def _csv(self, _request: Request, known: Visitor) -> Response:
        """The whole statement, a page at a time; cells that a spreadsheet would run are made harmless."""
        require_shown(SECTION, known)
        body = self._lines(known.tenant, await self._assets())
        return StreamingResponse(body, headers=_CSV, media_type="text/csv")

    async def _lines(self, tenant: str, assets: Mapping[str, Asset]) -> AsyncGenerator[str]:
        yield as_csv([], assets)
        async for row in entries(self._shell.app.pool, Wanted(tenant)):
            yield as_csv([row], assets, head=False)

    async def _assets(self) -> Mapping[str, Asset]:
        context = self._shell.app.context
        return {asset.id: asset for asset in await AssetStore(self._shell.app.pool, context.audit).listed()}
