"""``chimera ledger``: budgets set by people who may, balances, statements as files, and the books checked.

Proves FR-616, FR-617 and FR-618.
"""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.commerce.assets import Asset, on_chain
from chimera.commerce.intents import IntentState
from chimera.commerce.statement import Entry, account, as_beancount, as_csv, commodities
from chimera.commerce.wallets import WalletStore
from chimera.core.clock import SystemClock
from chimera.store.audit import AuditLog
from chimera.store.embedded import Endpoints
from chimera.store.postgres import Pool, connect, open_pool

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

S = IntentState
Command = Callable[..., Any]


@pytest.fixture
def chimera(
    database_url: str,
    endpoints: Endpoints,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    enrol: Callable[..., None],
) -> Command:
    """Runs a command; gives its JSON, or with ``text`` what it wrote."""
    enrol(database_url, "ada")
    enrol(database_url, "rob", roles=("reviewer",))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHIMERA_DATABASE_URL", database_url)
    monkeypatch.setenv("CHIMERA_REDIS_URL", endpoints.redis_url)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str, fails: int = 0, text: bool = False) -> Any:
        done = CliRunner().invoke(app, ["ledger", *arguments, *([] if text else ["--json"])])
        assert done.exit_code == fails, done.output
        if text:
            return done.stdout
        said = json.loads(done.stdout)
        return said["error"] if fails else said

    return call


@pytest.fixture
def paid(database_url: str, chimera: Command, new_books: "Callable[[Pool], Awaitable[Books]]") -> Command:
    """The same, on books in which a payment was captured, another is held, and one was refunded in part."""

    async def pay() -> None:
        async with open_pool(database_url, 3) as pool:
            books = await new_books(pool)
            await books.budget(10_000_000, period="month")
            await books.budget(5_000, asset=books.coin)
            await books.ledger.deposit("default", "ann", books.token.id, 7_500_000, "d1")
            intent = await books.at(S.CONFIRMED, 2_000_000, fee_cap=900, purpose='=cmd|"x"\\ "; note')
            await books.ledger.capture(intent.id, 1_500_000, 850)
            await books.ledger.refund(intent.id, 500_000, "r1", by="ada")
            await books.at(S.RESERVED, 3_000_001, agent="bob", mission="m1")

    asyncio.run(pay())
    return chimera


@pytest.mark.threat(46)
def test_a_budget_is_set_by_who_may_and_shown(chimera: Command) -> None:
    """Proves FR-620. Threat 46. A reviewer and a stranger set no budget; whoever may is on the record."""
    assert chimera("budgets") == {"budgets": []}
    assert "nothing can be spent" in CliRunner().invoke(app, ["ledger", "budgets"]).stderr
    (made,) = chimera("budgets", "set", "tenant", "250.50", "--by", "ada")["budgets"]
    assert (made["cap"], made["left"], made["set_by"], made["symbol"]) == ("250500000", "250500000", "ada", "USD")
    (rolling,) = chimera("budgets", "set", "agent:ann", "10", "USD", "--rolling", "24h", "--by", "ada")["budgets"]
    assert (rolling["scope"], rolling["subject"], rolling["period"], rolling["window_s"]) == (
        *("agent", "ann", "rolling"),
        86_400,
    )
    for who in ("rob", "eve"):
        assert chimera("budgets", "set", "tenant", "1000000", "--by", who, fails=6)["code"] == "CH500"
    assert [one["cap"] for one in chimera("budgets")["budgets"]] == ["250500000", "10000000"]
    chimera("budgets", "set", "tenant", "250.50", "--freeze", "--by", "ada")
    shown = chimera("budgets", text=True)
    assert [line.split()[:3] for line in shown.splitlines()] == [
        ["budget", "per", "asset"],
        ["tenant", "total", "USD"],
        ["agent:ann", "last", "1d"],
    ]
    assert "250.50" in shown
    assert "frozen" in shown
    done = CliRunner().invoke(app, ["audit", "tail", "--json"])
    events = [event for event in json.loads(done.stdout)["events"] if event["kind"].startswith(("money", "perm"))]
    told = [(event["kind"], event["actor"]) for event in events]
    assert told[:2] == [("money.budget", "ada")] * 2
    assert told[2:] == [("permission.refused", "rob"), ("permission.refused", "eve"), ("money.budget", "ada")]


IMPOSSIBLE = [
    ("tenant", "1e3"),
    ("tenant", "NaN"),
    ("tenant", "0.0000001"),
    ("tenant", "１"),
    ("tenant", "1", "EURX"),
    ("tenant:x", "1"),
    ("agent", "1"),
    ("planet:earth", "1"),
    ("tenant", "1", "USD", "--per", "rolling"),
    ("tenant", "1", "USD", "--per", "year"),
    ("tenant", "1", "USD", "--rolling", "0h"),
    ("tenant", "1", "USD", "--rolling", "400d"),
    ("tenant", "1", "USD", "--rolling", "24h", "--per", "day"),
]


def test_a_budget_that_cannot_be_is_refused(chimera: Command) -> None:
    for arguments in IMPOSSIBLE:
        error = chimera("budgets", "set", *arguments, "--by", "ada", fails=2)
        assert error["code"] == "CH100", arguments
        assert error["remedy"]
    assert chimera("budgets") == {"budgets": []}


def test_balances_and_statements(paid: Command, tmp_path: Path) -> None:
    """Proves FR-616: every movement, exactly, as a table, CSV and beancount."""
    balances = {(one["account"], one["symbol"]): one["amount"] for one in paid("balance")["balances"]}
    assert {name: amount for name, amount in balances.items() if name[1] == "USDC"} == {
        ("funding", "USDC"): "-7.50",
        ("reserved:ann", "USDC"): "0.00",
        ("reserved:bob", "USDC"): "3.000001",
        ("spent:data", "USDC"): "1.00",
        ("wallet:ann", "USDC"): "6.50",
        ("wallet:bob", "USDC"): "-3.000001",
    }
    kinds = [(one["kind"], one["leg"]) for one in paid("statement")["entries"]]
    assert kinds == [
        ("deposit", ""),
        ("hold", "amount"),
        ("hold", "fee"),
        ("capture", "amount"),
        ("release", "amount"),
        ("capture", "fee"),
        ("release", "fee"),
        ("refund", "amount"),
        ("hold", "amount"),
    ]
    assert [one["agent"] for one in paid("statement", "--mission", "m1")["entries"]] == ["bob"]
    assert len(paid("statement", "--agent", "ann")["entries"]) == 7
    assert paid("statement", "--since", "2999-01-01")["entries"] == []
    assert len(paid("statement", "--until", "2999-01-01")["entries"]) == 9
    assert paid("statement", "--since", "soon", fails=2)["code"] == "CH100"
    shown = paid("statement", text=True)
    assert len(shown.splitlines()) == 10
    assert "3.000001" in shown
    assert "wallet:ann" in paid("balance", text=True)
    file = tmp_path / "rows.csv"
    paid("statement", "--format", "csv", "--output", str(file), text=True)
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))
    assert [row["amount"] for row in rows][:4] == ["7.50", "2.00", "0.0000000000000009", "1.50"]
    assert rows[1]["purpose"].startswith("'=cmd"), "a spreadsheet takes it for text"
    paid("statement", "--output", str(file), text=True, fails=2)
    books = paid("statement", "--format", "beancount", text=True)
    assert books.count(" * ") == 9
    assert balanced(books) == {"USDC": 0, "ETH": 0}


def balanced(text: str) -> dict[str, int]:
    """The sum of all postings of a beancount text by commodity, in units of 18 decimals."""
    sums: dict[str, int] = {}
    for line in text.splitlines():
        parts = line.split()
        if line.startswith("  ") and len(parts) == 3 and parts[0][0].isupper():
            whole, _, rest = parts[1].lstrip("-").partition(".")
            units = int(whole + rest.ljust(18, "0")) * (-1 if parts[1].startswith("-") else 1)
            sums[parts[2]] = sums.get(parts[2], 0) + units
    return sums


def test_the_books_are_checked_and_sealed(paid: Command, database_url: str) -> None:
    """Proves FR-615: a changed row fails the command with its code."""
    found = paid("verify", "--seal")
    assert (found["intact"], found["entries"], found["unsealed"], found["sealed_now"]) == (True, 9, 9, 9)
    assert paid("verify")["sealed_to"] == 9
    assert "intact: 9 rows" in paid("verify", text=True)

    async def tamper() -> None:
        async with await connect(database_url) as owner:
            await owner.execute("SET ROLE chimera_ledger")
            await owner.execute("ALTER TABLE journal DISABLE TRIGGER USER")
            await owner.execute("UPDATE journal SET amount = amount + 1 WHERE seq = 4")

    asyncio.run(tamper())
    error = paid("verify", fails=6)
    assert error["code"] == "CH808"
    assert "row 4" in error["message"]


def test_without_a_chain_there_is_nothing_to_compare_with(chimera: Command) -> None:
    assert chimera("reconcile", fails=6)["code"] == "CH809"


def test_assets_are_listed_and_added_by_who_may(chimera: Command) -> None:
    token = ("--chain", "1", "--decimals", "6", "--address", "0x" + "ab" * 20)
    assert chimera("add-asset", "USDC", *token, "--by", "rob", fails=6)["code"] == "CH500"
    (made,) = chimera("add-asset", "USDC", *token, "--by", "ada")["assets"]
    assert [one["id"] for one in chimera("assets")["assets"]] == [made["id"], "iso4217:USD"]
    assert "USDC" in chimera("assets", text=True)
    error = chimera("add-asset", "US DC", *token, "--by", "ada", fails=2)
    assert error["code"] == "CH100"


def test_names_of_beancount_are_never_confused() -> None:
    """Two accounts or assets get two names, also where beancount cannot write them as they are."""
    names = [
        "wallet:ann",
        "wallet:Ann",
        "wallet:a/nn",
        "wallet:a nn",
        "wallet:é",
        "wallet:è",
        "reserved:ann",
        "odd:ann",
    ]
    assert len({account(name) for name in names}) == len(names)
    assets = [on_chain("USDC", 1, 6, "0x" + "ab" * 20), on_chain("USDC", 2, 6, "0x" + "ab" * 20), on_chain("E", 1, 18)]
    assert len(set(commodities(assets).values())) == 3
    row = Entry(
        1,
        datetime(2026, 3, 1, tzinfo=UTC),
        "hold",
        "amount",
        "i",
        "reserved:a",
        "wallet:a",
        "x",
        5,
        'p"q\n',
        "",
        "",
        "",
    )
    known = {"x": Asset("x", "XYZ", 0)}
    assert '"p\'q"' in as_beancount([row], known)
    assert as_beancount([], {}) == ""
    assert as_csv([], {}).count("\n") == 1


@pytest.mark.threat(46)
def test_payees_are_set_by_people_who_may(chimera: Command) -> None:
    """Proves FR-641. Threat 46: a reviewer adds nobody; whoever may is asked for a checksum."""
    pytest.importorskip("eth_utils", reason="the extra commerce is not installed")
    address = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"
    add = ("payees", "add", "Weather Data", address, "--chain", "31337")
    assert chimera(*add, "--by", "rob", fails=6)["code"] == "CH500"
    (added,) = chimera(*add, "--by", "ada")["payees"]
    assert (added["name"], added["address"], added["owner"]) == ("weather data", address, "weather data")
    assert (
        chimera("payees", "add", "other", address.lower(), "--chain", "31337", "--by", "ada", fails=2)["code"]
        == "CH100"
    )
    assert chimera("payees", "add", "weather data", "0x" + "0" * 40, "--chain", "1", "--by", "ada", fails=2)
    assert "weather data" in chimera("payees", text=True)
    assert chimera("payees", "remove", "weather data", "--chain", "31337", "--by", "ada")["payees"] == []
    assert chimera("payees", "remove", "weather data", "--by", "ada", fails=6)["code"] == "CH815"


@pytest.mark.threat(21, 46)
def test_a_wallet_that_is_held_back_is_released_by_who_may(chimera: Command, database_url: str) -> None:
    """Proves FR-679. Threats 21 and 46: with a reason, on the record; a reviewer and a stranger release nothing."""
    address, other = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96", "0x" + "ab" * 20

    async def prepare() -> None:
        async with open_pool(database_url, 2) as pool:
            store = WalletStore(pool, AuditLog(pool, SystemClock()))
            for chain in (1, 2):
                await store.add(chain, address, "default", "ann", 4)
            await store.add(1, other, "elsewhere", "ann", 0)
            await store.quarantine(1, address, "nonce 3 was used by a transaction that is not ours")

    assert chimera("wallets") == {"wallets": []}
    asyncio.run(prepare())
    assert [(one["chain_id"], one["quarantined"]) for one in chimera("wallets")["wallets"]] == [(1, True), (2, False)]
    assert "held back: nonce 3" in chimera("wallets", text=True)
    release = ("wallets", "release", address.lower(), "--chain", "1", "--reason", "the key was in a backup; replaced")
    for who in ("rob", "eve"):
        assert chimera(*release, "--by", who, fails=6)["code"] == "CH500"
    for wrong in (
        ("wallets", "release", other, "--reason", "x"),
        ("wallets", "release", address, "--reason", "which of the two"),
        ("wallets", "release", address, "--chain", "2", "--reason", "it is not held back"),
        (*release[:5], "--reason", " "),
    ):
        assert chimera(*wrong, "--by", "ada", fails=2)["code"] == "CH100"
    assert [one["quarantined"] for one in chimera("wallets")["wallets"]] == [True, False]
    (done,) = chimera(*release, "--next-nonce", "6", "--by", "ada")["wallets"]
    assert (done["quarantined"], done["next_nonce"], done["why"]) == (False, 6, release[-1])
    events = json.loads(CliRunner().invoke(app, ["audit", "tail", "--json"]).stdout)["events"]
    told = [(one["kind"], one["actor"]) for one in events if one["kind"].startswith(("money.", "permission."))]
    assert told[-1] == ("money.unquarantined", "ada")
    assert told[2:-1] == [
        ("money.quarantined", "chimera:payer"),
        *(("permission.refused", who) for who in ("rob", "eve")),
    ]
