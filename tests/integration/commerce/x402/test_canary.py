"""The keys are nowhere: planted ones are looked for, in every form, in all that payments leave behind and show.

Proves FR-677. One run of the real processes (signer, CFO's key, a buyer) buys, is refused, is killed and fails; then
every table, file, log, message, argument and environment is searched. ``tests/canary.py`` says in which forms.
"""

import base64
import contextlib
import json
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.cfo_key import SocketCfoSigner
from chimera.commerce.wallet.authorizer import Authorizer
from chimera.commerce.wallet.authorizing import AuthorizeRequest
from chimera.commerce.wallet.client import SignerClient
from chimera.commerce.wallet.keys import LocalKeys, open_keystore
from chimera.core.errors import ApprovalMissing, ChimeraError, ConfigError, SignerDown, SignerRefused
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.canary import Canaries  # noqa: TID251 - its type alone
    from tests.integration.commerce.conftest import Doom  # noqa: TID251 - its type alone
    from tests.integration.commerce.x402.conftest import Market, Staff  # noqa: TID251 - their types alone

Real = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture
def planted(staff: "Staff", market: "Market", new_canaries: Any) -> "Canaries":
    """The secrets of the processes that have keys, and the key of the wallet that follows from them."""
    made = new_canaries()
    account: Any = LocalKeys(staff.secret)._account(market.books.tenant, "ann")  # pyright: ignore[reportPrivateUsage]
    made.plant("the secret of the wallets", staff.secret)
    made.plant("the key of ann's wallet", bytes(account.key))
    made.plant("the CFO's key", staff.cfo)
    made.plant("the passphrase", staff.passphrase)
    return made


@pytest.mark.threat(24)
@pytest.mark.timeout(180)
async def test_the_keys_are_nowhere_but_in_their_files(
    market: "Market",
    staff: "Staff",
    planted: "Canaries",
    real_order: Real,
    doom: "Doom",
    tmp_path: Path,
    shared_database_url: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    order, parts = real_order
    assert (await doom("buy", ["one", "two"], [25, 60], parts, **order))["last"] == 0
    assert await market.local.has(market.keeper) > 0, "the keys were used"
    said = [json.dumps(order)]
    for process in staff.processes:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # the kernel keeps it from whoever is not root: so much the better
                said.append(Path(f"/proc/{process.pid}/{name}").read_bytes().decode(errors="replace"))
    said += [text async for text in failures(market, staff, shared_database_url)]
    for process in staff.processes:
        process.kill()
        said.append(process.communicate()[0].decode(errors="replace"))
    out, err = capfd.readouterr()
    said += [out, err, caplog.text]
    assert any("SignerRefused" in text for text in said)
    assert any("InputError" in text for text in said)
    seen = planted.found("\n".join(said).encode(), "what was said")
    seen += planted.in_files(tmp_path, staff.keystore, staff.cfo_key)
    assert seen + planted.in_database(shared_database_url) == []
    assert planted.in_files(staff.cfo_key.parent), "they would be found"


async def failures(market: "Market", staff: "Staff", url: str) -> AsyncIterator[str]:
    """What is said, with all that hangs on the errors, when the keys are asked for what they do not do, or are gone."""
    client = SignerClient(staff.signer_socket, 5.0)
    (row,) = await fetch(market.books.pool, "SELECT min(id::text) AS id FROM intents WHERE tenant = %s",
                         (market.books.tenant,))  # fmt: skip
    intent = await market.books.ledger.intent(row["id"])
    store = ApprovalStore(market.books.pool)
    kept = await store.signed(intent.id)
    assert kept is not None
    from chimera.commerce.wallet.approval import approval_for, approval_of

    approval = await approval_of(intent, store)
    for request in (
        AuthorizeRequest(intent, approval, 1, "Test dollar", "2"),
        AuthorizeRequest(intent, approval_for(intent), 1, "Test dollar", "2"),
    ):
        with pytest.raises(SignerRefused) as refused:
            await client.sign_authorization(request)
        yield shown(refused.value)
    for asked in ({"call": "sign_hash", "hash": "11" * 32}, {"call": "key"}, {"call": "address", "tenant": 1}):
        with pytest.raises(SignerRefused) as refused:
            await client._ask(asked)  # pyright: ignore[reportPrivateUsage]
        yield shown(refused.value)
    waiting = await market.books.ledger.propose(market.books.asks(5))
    with pytest.raises(ApprovalMissing) as missing:
        await SocketCfoSigner(staff.cfo_socket).sign(waiting.id)
    yield shown(missing.value)
    for process in staff.processes:
        process.kill()
        process.wait()
    for process in (staff.start_signer(), staff.start_cfo(url, Path("no such policy"))):
        process.kill()
        process.wait()
    with pytest.raises(SignerDown) as down:
        await Authorizer(client, store).payer(intent)
    yield shown(down.value)
    for file, change in ((staff.keystore, '"kdf"'), (staff.cfo_key, staff.cfo.hex()[:2])):
        broken = staff.folder / f"broken {file.name}"
        broken.touch(0o600)
        text = file.read_text()
        broken.write_text(text.replace(change, "zz", 1))
        try:
            for error in broken_keys(broken, staff.passphrase):
                yield shown(error)
        finally:
            broken.unlink()
    with pytest.raises(ConfigError) as other:
        open_keystore(staff.keystore, "another passphrase")
    yield shown(other.value)


def broken_keys(file: Path, passphrase: str) -> Iterator[BaseException]:
    """The errors of both ways to read a file that holds keys, and holds them wrongly."""
    from chimera.commerce.cfo_key import load_key

    for read in (lambda: open_keystore(file, passphrase), lambda: load_key(file)):
        try:
            read()
        except ChimeraError as error:
            yield error


def shown(error: BaseException) -> str:
    """An error as a trace shows it, with the errors behind it and its data."""
    told = [type(error).__name__, repr(error), *traceback.format_exception(error)]
    if isinstance(error, ChimeraError):
        told.append(json.dumps(error.as_dict(), default=repr))
    return "\n".join(told)


def test_the_search_finds_what_is_there(new_canaries: Any, tmp_path: Path) -> None:
    """Every form, halves, and any alignment: a search that finds nothing anywhere would prove nothing."""
    secret = bytes(range(7, 39))
    canaries = new_canaries()
    canaries.plant("key", secret)
    canaries.plant("text", "a passphrase of four words")
    half = secret[16:]
    hays: list[bytes] = [
        b"x" + secret + b"x",
        b"cut off: " + half,
        b"0x" + secret.hex().encode(),
        secret.hex().upper().encode(),
        repr(secret).encode(),
        json.dumps(list(secret)).encode(),
        json.dumps(list(half), separators=(",", ":")).encode(),
        str(int.from_bytes(secret, "big")).encode(),
        *(base64.b64encode(b"?" * before + half + b"!" * after) for before in range(4) for after in range(3)),
        base64.urlsafe_b64encode(b"?" + b"\xfb\xff" + secret),
        b"a passphrase of four words",
        base64.b64encode(b"{'p': 'a passphrase of four words'}"),
    ]
    for hay in hays:
        assert canaries.found(hay, "hay"), hay
        (tmp_path / "file").write_bytes(b"before " + hay + b" after")
        assert canaries.in_files(tmp_path)
        assert canaries.in_files(tmp_path, tmp_path / "file") == []
    assert canaries.found(sys.version.encode() * 50, "hay") == []
