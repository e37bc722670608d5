"""The CFO's signature: EIP-712 typed data over a payment, by a key that is a file of a process of its own.

Nobody asks for a signature over bytes. A payment is named by its id, and whoever holds the key looks it up and decides
anew whether it may be signed (:class:`CfoDesk`): its digest, the verdict, the agreements of people, the policy, the
time.
"""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from chimera.commerce.approvals import ApprovalStore, Signed
from chimera.commerce.findings import FindingStore
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.payment_policy import Level, PaymentPolicy
from chimera.commerce.wallet.approval import TypedData, payment_data
from chimera.core.errors import ApprovalMissing, CfoUnavailable, ChimeraError, ExtraMissing, InputError, StoreError
from chimera.store.audit import AuditEvent, AuditLog

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

ANSWER_S = 20.0
LINE_MAX = 64 * 1024


class CfoSigner(Protocol):
    """What can have an approved payment signed."""

    async def sign(self, intent_id: str) -> Signed:
        """The signature over a payment that is approved; the same one again when it was signed before.

        Raises:
            ApprovalMissing: it may not be signed. CfoUnavailable: nobody could say.
        """
        ...


class CfoDesk:
    """Whoever holds the key: decides by the database whether a payment is signed, and takes nobody's word for it."""

    def __init__(
        self,
        key: "LocalAccount",
        ledger: Ledger,
        findings: FindingStore,
        approvals: ApprovalStore,
        policy: PaymentPolicy,
        audit: AuditLog,
        data_of: Callable[[Intent], TypedData] = payment_data,
    ) -> None:
        """``data_of``: the typed data that is signed; a vault has one of its own."""
        self._key = key
        self._ledger = ledger
        self._findings = findings
        self._approvals = approvals
        self._policy = policy
        self._audit = audit
        self._data_of = data_of

    @property
    def address(self) -> str:
        """The address of the key, which everybody may know."""
        return str(self._key.address)

    async def sign(self, intent_id: str) -> Signed:
        """Sign a payment that is approved; :class:`CfoSigner`."""
        intent = await self._ledger.intent(intent_id)
        if (kept := await self._approvals.signed(intent.id)) is not None and kept.digest == intent.digest:
            return kept
        await self._allowed(intent)
        from eth_account.messages import encode_typed_data

        signature = bytes(self._key.sign_message(encode_typed_data(full_message=self._data_of(intent))).signature)
        made = Signed(intent.id, intent.digest, self.address, signature, intent.expires_at)
        kept = await self._approvals.keep(made)
        data = {"intent": intent.id, "digest": intent.digest.hex(), "signer": kept.signer}
        await self._audit.append(
            AuditEvent("money.signed", f"cfo:{self.address}", intent.mission_id, intent.asked.tenant, data)
        )
        return kept

    async def _allowed(self, intent: Intent) -> None:
        about = {"intent": intent.id}
        if intent.computed() != intent.digest:
            raise ApprovalMissing(f"payment {intent.id} is not what its digest says", **about)
        if await self._approvals.too_late(intent):
            raise ApprovalMissing(f"payment {intent.id} has expired", **about)
        if intent.state is not IntentState.APPROVED:
            raise ApprovalMissing(f"payment {intent.id} is {intent.state}, and not approved", **about)
        if intent.asked.policy_version != self._policy.version:
            raise ApprovalMissing(f"payment {intent.id} was judged by another policy", **about)
        verdict = await self._findings.of(intent, "cfo")
        if verdict is None or verdict["action"] not in ("approve", "escalate"):
            raise ApprovalMissing(f"the CFO did not approve payment {intent.id}", **about)
        if missing := await self._approvals.quorum(intent, Level(verdict["level"])):
            raise ApprovalMissing(f"payment {intent.id} lacks the agreement of {missing} people", **about)


class SocketCfoSigner:
    """Asks the process that holds the key (:mod:`chimera.commerce.cfo_process`), over its Unix socket."""

    def __init__(self, path: Path, answer_s: float = ANSWER_S) -> None:
        self._path = path
        self._answer_s = answer_s

    async def sign(self, intent_id: str) -> Signed:
        """Have a payment signed; :class:`CfoSigner`. Silence and nonsense sign nothing."""
        try:
            async with asyncio.timeout(self._answer_s):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LINE_MAX)
                try:
                    writer.write(json.dumps({"sign": intent_id}).encode() + b"\n")
                    await writer.drain()
                    line = await reader.readline()
                finally:
                    writer.close()
            return _read(json.loads(line))
        except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise CfoUnavailable(f"the CFO's key cannot be asked: {type(error).__name__}") from None


def _read(answer: dict[str, Any]) -> Signed:
    from datetime import datetime

    if "refused" in answer:
        raise ApprovalMissing(str(answer["refused"])[:500])
    if "unavailable" in answer:
        raise CfoUnavailable(f"the CFO's key cannot be used: {answer['unavailable']}"[:500])
    return Signed(
        str(answer["intent"]),
        bytes.fromhex(answer["digest"]),
        str(answer["signer"]),
        bytes.fromhex(answer["signature"]),
        datetime.fromisoformat(answer["expires_at"]),
    )


async def answered(desk: CfoSigner, line: bytes) -> dict[str, Any]:
    """What the process that holds the key says to one request; a payment's id is all that it takes."""
    try:
        asked: Any = json.loads(line)
        match asked:
            case {"sign": str(intent_id)} if len(cast("dict[str, Any]", asked)) == 1:
                pass
            case _:
                return {"refused": "the CFO's key signs payments by their id, and nothing else"}
        signed = await desk.sign(intent_id)
    except ValueError:
        return {"refused": "this is no request"}
    except StoreError as error:  # nothing is known of the payment now, which is no reason to end it
        return {"unavailable": error.message}
    except ChimeraError as error:
        return {"refused": error.message}
    return {
        "intent": signed.intent,
        "digest": signed.digest.hex(),
        "signer": signed.signer,
        "signature": signed.signature.hex(),
        "expires_at": signed.expires_at.isoformat(),
    }


def load_key(path: Path) -> "LocalAccount":
    """The CFO's key out of a file that nobody else can read; made when there is none.

    Raises:
        InputError: others can read the file, or it holds no key. ExtraMissing: nothing can sign.
    """
    try:
        from eth_account import Account
    except ImportError:
        raise ExtraMissing("signatures need the extra commerce", remedy="pip install 'chimera[commerce]'") from None
    if not path.exists():
        made = Account.create()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise InputError(f"the CFO's key cannot be written: {type(error).__name__}") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(bytes(made.key).hex())
        return made
    held = path.stat()
    if held.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or held.st_uid != os.getuid():
        raise InputError("others can read the CFO's key", remedy=f"chmod 600 {path.name}, and make a new key.")
    try:
        return Account.from_key(bytes.fromhex(path.read_text("ascii").strip()))
    except Exception:  # noqa: BLE001 - what it holds must not be in a message
        raise InputError("the file of the CFO's key holds no key") from None
