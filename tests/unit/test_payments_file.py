"""The file that ``CHIMERA_PAYMENTS`` names: what it may say, and which mistakes are found before anything starts.

Proves FR-684.
"""

from pathlib import Path

import pytest

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
