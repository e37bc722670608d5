"""The file that ``CHIMERA_PAYMENTS`` names: what it may say, and which mistakes are found before anything starts.

Proves FR-684.
"""

import asyncio
from pathlib import Path

import pytest

from chimera.cli import checks
from chimera.commerce.configured import configured_payments, read_payments
from chimera.core.errors import ConfigError
from chimera.core.settings import Settings

CFO = "0x" + "11" * 20
FILE = f"""
policy = "policy.toml"
cfo_socket = "cfo.sock"
cfo_address = "{CFO}"
signer_socket = "/run/signer.sock"

[[shops]]
origin = "https://data.example.com"
asset = "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
token_name = "USD Coin"
token_version = "2"
pay_to = "0x{"22" * 20}"
most = "5.00"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text("production = true\nlist_days = 3\n")
    (tmp_path / "payments.toml").write_text(FILE)
    return tmp_path / "payments.toml"


def settings(place: Path) -> Settings:
    return Settings.model_validate({"payments": str(place), "home": place.parent / "home"})


def test_a_file_that_can_be_meant_is_read(place: Path) -> None:
    setup = configured_payments(settings(place))
    assert (setup.policy.list_days, setup.policy.production) == (3, True)
    assert (setup.cfo_socket, setup.cfo_address, setup.cfo_key) == (place.parent / "cfo.sock", CFO, None)
    assert setup.rails is not None
    (shop,) = read_payments(place).shops
    assert (shop.origin, shop.most) == ("https://data.example.com", "5.00")


def test_what_is_sold_is_read_and_needs_a_path_of_its_own(place: Path) -> None:
    """Proves FR-685: the path is one below /paid, so that nothing else of the server is put behind a price."""
    line = FILE.split("[[shops]]")[1].replace(
        'origin = "https://data.example.com"', 'by = "clerk"\ntenant = "shopfront"'
    )
    sells = f'[[sells]]{line.replace("most", "price")}facilitator = "https://facilitator.example.com"\n'
    place.write_text(FILE.split("[[shops]]")[0].replace('signer_socket = "/run/signer.sock"\n', "") + sells)
    (sold,) = read_payments(place).sells
    assert (sold.path, sold.price, sold.by) == ("/paid/missions", "5.00", "clerk")
    assert configured_payments(settings(place)).rails is not None
    place.write_text(place.read_text() + 'path = "/mcp"\n')
    with pytest.raises(ConfigError, match="path"):
        read_payments(place)


def test_without_a_signer_nothing_pays(place: Path) -> None:
    place.write_text(FILE.replace('signer_socket = "/run/signer.sock"\n', ""))
    assert configured_payments(settings(place)).rails is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('cfo_socket = "cfo.sock"\n', "", "cfo_socket"),
        ("[[shops]]", "[[shop]]", "shop"),
        ('most = "5.00"', "most = 5", "most"),
        ('policy = "policy.toml"', 'policy = "none.toml"', "none.toml"),
        ("[[shops]]", "[[shops", "payments.toml"),
    ],
)
def test_a_mistake_is_named(place: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    place.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        configured_payments(settings(place))


def test_a_file_that_is_not_there_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing here") as raised:
        configured_payments(settings(tmp_path / "nothing here"))
    assert "local" in raised.value.hint


async def test_the_doctor_says_what_is_not_there(place: Path) -> None:
    found = {each.name: each for each in [each async for each in checks.payments(settings(place))]}
    assert {name: each.state for name, each in found.items()} == {
        "payments lists": "note",
        "payments CFO": "problem",
        "payments signer": "problem",
    }
    assert (found["payments CFO"].code, found["payments signer"].code) == ("CH818", "CH811")
    assert str(place.parent / "cfo.sock") in found["payments CFO"].detail


async def test_the_doctor_looks_at_sockets_and_lists_that_are_there(place: Path) -> None:
    folder = place.parent
    (folder / "lists").mkdir()
    (folder / "lists" / "sanctioned_addresses_ETH.txt").write_text(CFO + "\n")
    (folder / "lists" / "DATED").write_text("2026-11-20")
    place.write_text(FILE.replace('signer_socket = "/run/signer.sock"\n', 'lists = ["lists"]\n'))

    left = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_unix_server(silent, folder / "cfo.sock"):
        found = [each async for each in checks.payments(settings(place))]
        await left.wait()
    assert [(each.name, each.state) for each in found] == [("payments lists", "ok"), ("payments CFO", "ok")]
    assert "2026-11-20" in found[0].detail
