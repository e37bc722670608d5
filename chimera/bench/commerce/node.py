"""A node with the EVM of the local chain: transactions wait in a pool, and a block takes many of them.

What is executed is py-evm's. Around it there are a pool by sender and nonce with the rules of usual nodes, blocks when
told, receipts and events as they were mined, and reorganisations after which, as with anvil, the pool is empty.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from chimera.commerce.chain.embedded import LOCAL_CHAIN, local_token, new_tester
from chimera.commerce.wallet.calldata import transfer_call

if TYPE_CHECKING:
    from eth_tester import EthereumTester

FUNDER = (1).to_bytes(32, "big")
SUPPLY = 10**15
TIP = 10**9
_BLOCK_GAS = 25_000_000
_GAS = {"coins": 21_000, "tokens": 100_000, "contract": 2_000_000}
_ZERO = b"\0" * 20
_BUMP = (9, 8)  # what replaces a transaction pays at least an eighth more


class Refused(Exception):
    """The words in which a transaction is not taken."""


@dataclass(frozen=True)
class Waiting:
    """A transaction of the pool; ``sender``: 20 bytes."""

    made: Any
    sender: bytes


@dataclass
class Block:
    """A mined block as JSON-RPC tells it, with its receipts and events."""

    header: dict[str, Any]
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    logs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class Node:
    """The chain, its pool and its blocks. Hashes and addresses are 0x and digits in lower case."""

    def __init__(self, tester: "EthereumTester | None" = None) -> None:
        self._backend: Any = (tester or new_tester()).backend
        self._pool: dict[bytes, dict[int, Waiting]] = {}
        self._blocks: list[Block] = []
        self._called: dict[tuple[str, str, str], str] = {}
        self._funder_nonce = 0
        self._remember(self._chain.get_canonical_head(), (), ())

    @property
    def _chain(self) -> Any:
        return self._backend.chain

    @property
    def head(self) -> int:
        """The number of the newest block."""
        return len(self._blocks) - 1

    @property
    def waiting(self) -> int:
        """How many transactions the pool has."""
        return sum(map(len, self._pool.values()))

    # --- asked over JSON-RPC -------------------------------------------------------------------------------------

    def block(self, number: int) -> dict[str, Any] | None:
        """A block without its transactions."""
        return self._blocks[number].header if 0 <= number <= self.head else None

    def nonce(self, address: str, number: int) -> int:
        """How many transactions of an address are in blocks up to one."""
        return int(self._state(number).get_nonce(_bytes(address)))

    def balance(self, address: str, number: int) -> int:
        """The coins of an address after a block."""
        return int(self._state(number).get_balance(_bytes(address)))

    def call(self, to: str, data: str, number: int) -> str:
        """What a contract answers after a block; the same as long as that is the block."""
        asked = (str(self._blocks[number].header["hash"]), to.lower(), data)
        if asked not in self._called:
            if len(self._called) > 50_000:
                self._called.clear()
            call = {"from": _maker(), "to": _bytes(to), "data": _bytes(data)}
            call |= {"gas": 1_000_000, "gas_price": 1_000 * TIP}
            self._called[asked] = "0x" + bytes(self._backend.call(call, number)).hex()
        return self._called[asked]

    def receipt(self, hash_: str) -> dict[str, Any] | None:
        """The receipt of a transaction that is in a block."""
        return next((block.receipts[hash_] for block in reversed(self._blocks) if hash_ in block.receipts), None)

    def logs(self, since: int, upto: int, addresses: Sequence[str], topics: Sequence[Any]) -> list[dict[str, Any]]:
        """The events of contracts in blocks; a topic that is none fits all, and one that is a list what is in it."""
        wanted = {address.lower() for address in addresses}
        return [
            log
            for block in self._blocks[max(since, 0) : upto + 1]
            for log in block.logs
            if log["address"] in wanted and _fits(log["topics"], topics)
        ]

    def send(self, raw: bytes) -> str:
        """Take a transaction into the pool; its hash.

        Raises:
            Refused: it is not taken.
        """
        try:
            made = self._chain.get_vm().get_transaction_builder().decode(raw)
            sender = bytes(made.sender)
        except Exception as error:  # noqa: BLE001 - whatever was sent
            raise Refused(f"invalid transaction: {type(error).__name__}") from None
        hash_ = "0x" + bytes(made.hash).hex()
        state, waiting = self._state(self.head), self._pool.setdefault(sender, {})
        if (there := waiting.get(made.nonce)) is not None:
            if there.made.hash == made.hash:
                raise Refused("already known")
            if _raised(there.made.max_fee_per_gas) > made.max_fee_per_gas or (
                _raised(there.made.max_priority_fee_per_gas) > made.max_priority_fee_per_gas
            ):
                raise Refused("replacement transaction underpriced")
        if made.nonce < state.get_nonce(sender):
            raise Refused(f"nonce too low: next nonce {state.get_nonce(sender)}, tx nonce {made.nonce}")
        if state.get_balance(sender) < made.gas * made.max_fee_per_gas + made.value:
            raise Refused("insufficient funds for gas * price + value")
        waiting[made.nonce] = Waiting(made, sender)
        return hash_

    # --- done to it ----------------------------------------------------------------------------------------------

    def mine(self) -> int:
        """Add a block with what can be in it; how many transactions that was."""
        chain = self._chain
        taken = self._takeable(int(chain.header.base_fee_per_gas))
        more = {"coinbase": _ZERO, "mix_hash": os.urandom(32), "blob_gas_used": 0}
        imported, receipts, _ = chain.mine_all([each.made for each in taken], **more)
        for each in taken:
            del self._pool[each.sender][each.made.nonce]
        self._remember(imported.imported_block.header, taken, receipts)
        return len(taken)

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by one more of empty ones; what was in them and in the pool is gone."""
        kept = max(self.head - depth, 1)
        gone = self.head - kept
        self._backend.revert_to_snapshot(self._chain.get_canonical_block_hash(kept))
        del self._blocks[kept + 1 :]
        self._pool.clear()
        for _ in range(gone + 1):
            self.mine()

    def token(self) -> str:
        """The address of a new test token, all of which the funder has."""
        from eth._utils.address import generate_contract_address

        address = generate_contract_address(_maker(), self._funder_nonce)
        self._spend(None, local_token() + SUPPLY.to_bytes(32, "big"), 0, _GAS["contract"])
        self.mine()
        return "0x" + bytes(address).hex()

    def fund(self, addresses: Sequence[str], coins: int, token: str, units: int) -> None:
        """Give each of some addresses coins and units of a token."""
        for address in addresses:
            self._spend(address, b"", coins, _GAS["coins"])
            self._spend(token, transfer_call(address, units), 0, _GAS["tokens"])
        while self.waiting:
            self.mine()

    # --- inside --------------------------------------------------------------------------------------------------

    def _spend(self, to: str | None, data: bytes, value: int, gas: int) -> None:
        from eth_account import Account

        made: dict[str, Any] = {
            "type": 2,
            "chainId": LOCAL_CHAIN,
            "nonce": self._funder_nonce,
            "value": value,
            "data": data,
            "gas": gas,
            "maxFeePerGas": 100 * TIP,
            "maxPriorityFeePerGas": TIP,
        }
        signed = Account.from_key(FUNDER).sign_transaction({**made, "to": _bytes(to)} if to else made)
        self.send(bytes(signed.raw_transaction))
        self._funder_nonce += 1

    def _takeable(self, base_fee: int) -> list[Waiting]:
        """What is next of each sender, pays enough, and fits into a block."""
        state, gas, found = self._state(self.head), 0, list[Waiting]()
        for sender, waiting in self._pool.items():
            nonce = state.get_nonce(sender)
            for old in [each for each in waiting if each < nonce]:
                del waiting[old]
            while (each := waiting.get(nonce)) is not None and each.made.max_fee_per_gas >= base_fee:
                gas += each.made.gas
                if gas > _BLOCK_GAS:
                    return found
                found.append(each)
                nonce += 1
        return found

    def _state(self, number: int) -> Any:
        header = self._chain.get_canonical_block_header_by_number(number)
        return self._chain.get_vm(header).state

    def _remember(self, header: Any, taken: Sequence[Waiting], receipts: Sequence[Any]) -> None:
        block = Block(_header(header))
        before = 0
        for place, (each, receipt) in enumerate(zip(taken, receipts, strict=True)):
            hash_ = "0x" + bytes(each.made.hash).hex()
            where = {
                "blockHash": block.header["hash"],
                "blockNumber": block.header["number"],
                "transactionHash": hash_,
                "transactionIndex": hex(place),
            }
            logs = [_log(log, where, len(block.logs) + n) for n, log in enumerate(receipt.logs)]
            price = min(
                each.made.max_fee_per_gas, int(header.base_fee_per_gas) + int(each.made.max_priority_fee_per_gas)
            )
            block.logs += logs
            block.receipts[hash_] = {
                **where,
                "from": "0x" + each.sender.hex(),
                "to": "0x" + bytes(each.made.to).hex() if each.made.to else None,
                "status": hex(int(bytes(receipt.state_root) == b"\x01")),
                "gasUsed": hex(receipt.gas_used - before),
                "cumulativeGasUsed": hex(receipt.gas_used),
                "effectiveGasPrice": hex(price),
                "contractAddress": None,
                "logs": logs,
                "type": "0x2",
            }
            before = receipt.gas_used
        self._blocks.append(block)


def _header(header: Any) -> dict[str, Any]:
    return {
        "number": hex(header.block_number),
        "hash": "0x" + bytes(header.hash).hex(),
        "parentHash": "0x" + bytes(header.parent_hash).hex(),
        "timestamp": hex(header.timestamp),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "extraData": "0x",
        "transactions": [],
    }


def _log(log: Any, where: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        **where,
        "address": "0x" + bytes(log.address).hex(),
        "topics": [f"0x{topic:064x}" for topic in log.topics],
        "data": "0x" + bytes(log.data).hex(),
        "logIndex": hex(place),
        "removed": False,
    }


def _fits(found: Sequence[str], topics: Sequence[Any]) -> bool:
    wanted = [None if each is None else [each] if isinstance(each, str) else list(each) for each in topics]
    return len(found) >= len(wanted) and all(
        each is None or topic in [one.lower() for one in each] for topic, each in zip(found, wanted, strict=False)
    )


def _raised(fee: int) -> int:
    return -(-fee * _BUMP[0] // _BUMP[1])


@cache
def _maker() -> Any:
    """The funder's address."""
    from eth_account import Account

    return _bytes(str(Account.from_key(FUNDER).address))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
