# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title SpendVault
@license Apache-2.0
@notice Holds coins and tokens of one fleet and pays them out one approved payment at a time. Whoever owns every
    computer of the fleet, the agent's key and the database included, but not the CFO's key, gets nothing out of it.
    Whoever has the CFO's key too gets what the limits allow in a window, to payees that the owner listed, until the
    guardian pauses it.
@dev What makes it stricter takes effect at once. What makes it looser is scheduled by the owner, takes effect after
    a delay, and can be dropped by the guardian until then.
"""

from ethereum.ercs import IERC20

# A window is 24 buckets long and 25 are counted: the oldest of them counts as a whole while any part of it is still
# within the window, so no window of that length, wherever it begins, holds more than its limit.
BUCKETS: constant(uint256) = 24
SLOTS: constant(uint256) = 25
MOST: constant(uint256) = 2**128 - 1
LEAST_DELAY: constant(uint256) = 3_600
MOST_DELAY: constant(uint256) = 30 * 86_400
# How long a scheduled change may be made once its delay is over.
GRACE: constant(uint256) = 14 * 86_400
# What a transaction costs before its call is looked at, at most: its base cost, the bytes of the call, finding the function.
BEFORE_CALL: constant(uint256) = 30_000
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Chimera SpendVault")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
PAYMENT_TYPE: constant(bytes32) = keccak256(
    "Payment(bytes32 intent,address asset,address payee,uint256 amount,uint256 feeCap,bytes32 policy,uint256 expiry)"
)

# Kinds of changes that wait.
LIMIT: constant(uint256) = 1
PAYEE: constant(uint256) = 2
AGENT: constant(uint256) = 3
CFO: constant(uint256) = 4
GUARDIAN: constant(uint256) = 5
OWNER: constant(uint256) = 6
WITHDRAW: constant(uint256) = 7
UNPAUSE: constant(uint256) = 8


# What the CFO signs, with the chain and this contract in the domain. asset: zero is the chain's own coin.
struct Payment:
    intent: bytes32
    asset: address
    payee: address
    amount: uint256
    fee_cap: uint256
    policy: bytes32
    expiry: uint256


# per_payment zero: the asset is not paid at all.
struct Limit:
    per_payment: uint256
    per_window: uint256


struct Setting:
    asset: address
    per_payment: uint256
    per_window: uint256


# Something looser that is asked for. subject: an asset, a payee or who gets a role.
struct Change:
    kind: uint256
    subject: address
    first: uint256
    second: uint256


event Paid:
    intent: indexed(bytes32)
    asset: indexed(address)
    payee: indexed(address)
    amount: uint256
    policy: bytes32

event Limited:
    asset: indexed(address)
    per_payment: uint256
    per_window: uint256

event Listed:
    payee: indexed(address)
    listed: bool

event Spoiled:
    intent: indexed(bytes32)

event PolicyRevoked:
    policy: indexed(bytes32)

event Halted:
    halted: bool

event Scheduled:
    change: indexed(bytes32)
    kind: uint256
    subject: address
    first: uint256
    second: uint256
    ready: uint256

event Made:
    change: indexed(bytes32)

event Dropped:
    change: indexed(bytes32)


owner: public(address)
agent: public(address)
guardian: public(address)
cfo: public(address)
paused: public(bool)
limits: public(HashMap[address, Limit])
payees: public(HashMap[address, bool])
used: public(HashMap[bytes32, bool])
revoked: public(HashMap[bytes32, bool])
ready: public(HashMap[bytes32, uint256])
DELAY: public(immutable(uint256))
WIDTH: public(immutable(uint256))
# By asset: the number of a bucket in the upper half of a word, and what was paid in it in the lower.
ring: HashMap[address, uint256[SLOTS]]


@deploy
@payable
def __init__(
    agent: address,
    cfo: address,
    guardian: address,
    delay: uint256,
    window: uint256,
    settings: DynArray[Setting, 8],
    payees: DynArray[address, 32],
):
    assert LEAST_DELAY <= delay and delay <= MOST_DELAY, "delay"
    assert window >= BUCKETS and window % BUCKETS == 0, "window"
    DELAY = delay
    WIDTH = window // BUCKETS
    self.owner = msg.sender
    self.agent = agent
    self.cfo = cfo
    self.guardian = guardian
    self._check_roles()
    for setting: Setting in settings:
        self._limit(setting.asset, setting.per_payment, setting.per_window)
    for payee: address in payees:
        self._list(payee)


@external
@payable
def __default__():
    """
    @notice Take coins in. Tokens are just sent here.
    """
    assert len(msg.data) == 0, "call"


# --- paying ---

@external
@nonreentrant
def pay(payment: Payment, v: uint8, r: bytes32, s: bytes32):
    """
    @notice Pay what the CFO approved, once.
    """
    assert msg.sender == self.agent, "agent"
    assert not self.paused, "paused"
    assert block.timestamp <= payment.expiry, "expired"
    assert not self.used[payment.intent], "replay"
    assert not self.revoked[payment.policy], "policy"
    assert self.payees[payment.payee], "payee"
    assert payment.amount > 0, "amount"
    assert tx.gasprice * (msg.gas + BEFORE_CALL) <= payment.fee_cap, "fee"
    assert self._signed(payment, v, r, s), "cfo"
    self.used[payment.intent] = True
    self._count(payment.asset, payment.amount)
    self._send(payment.asset, payment.payee, payment.amount)
    log Paid(
        intent=payment.intent,
        asset=payment.asset,
        payee=payment.payee,
        amount=payment.amount,
        policy=payment.policy,
    )


@external
@view
def digest(payment: Payment) -> bytes32:
    """
    @notice What the CFO signs for a payment (EIP-712).
    """
    return self._digest(payment)


@external
@view
def spent(asset: address) -> uint256:
    """
    @notice What counts in the window that ends now.
    """
    return self._spent(asset)


# --- stricter, at once ---

@external
def pause():
    self._check_keeper()
    self.paused = True
    log Halted(halted=True)


@external
def unlist(payee: address):
    self._check_keeper()
    self.payees[payee] = False
    log Listed(payee=payee, listed=False)


@external
def spoil(intent: bytes32):
    """
    @notice Use an approval up without paying.
    """
    self._check_keeper()
    self.used[intent] = True
    log Spoiled(intent=intent)


@external
def revoke_policy(policy: bytes32):
    """
    @notice Nothing that was approved under this version of the policy is paid any more.
    """
    self._check_keeper()
    self.revoked[policy] = True
    log PolicyRevoked(policy=policy)


@external
def lower(asset: address, per_payment: uint256, per_window: uint256):
    self._check_keeper()
    there: Limit = self.limits[asset]
    assert per_payment <= there.per_payment and per_window <= there.per_window, "raise"
    self._limit(asset, per_payment, per_window)


@external
def drop(change: bytes32):
    """
    @notice A scheduled change is not made.
    """
    self._check_keeper()
    assert self.ready[change] != 0, "unknown"
    self.ready[change] = 0
    log Dropped(change=change)


# --- looser, after the delay ---

@external
def schedule(change: Change) -> bytes32:
    assert msg.sender == self.owner, "owner"
    assert change.kind >= LIMIT and change.kind <= UNPAUSE, "kind"
    name: bytes32 = self._name(change)
    before: uint256 = self.ready[name]
    assert before == 0 or block.timestamp > before + GRACE, "scheduled"
    self.ready[name] = block.timestamp + DELAY
    log Scheduled(
        change=name,
        kind=change.kind,
        subject=change.subject,
        first=change.first,
        second=change.second,
        ready=block.timestamp + DELAY,
    )
    return name


@external
@nonreentrant
def make(change: Change):
    assert msg.sender == self.owner, "owner"
    name: bytes32 = self._name(change)
    at: uint256 = self.ready[name]
    assert at != 0, "unknown"
    assert block.timestamp >= at, "delay"
    self.ready[name] = 0
    assert block.timestamp <= at + GRACE, "stale"
    if change.kind == LIMIT:
        self._limit(change.subject, change.first, change.second)
    elif change.kind == PAYEE:
        self._list(change.subject)
    elif change.kind == AGENT:
        self.agent = change.subject
    elif change.kind == CFO:
        self.cfo = change.subject
    elif change.kind == GUARDIAN:
        self.guardian = change.subject
    elif change.kind == OWNER:
        self.owner = change.subject
    elif change.kind == WITHDRAW:
        self._send(change.subject, self.owner, change.first)
    else:
        self.paused = False
        log Halted(halted=False)
    self._check_roles()
    log Made(change=name)


# --- inside ---

@internal
@view
def _check_keeper():
    assert msg.sender == self.owner or msg.sender == self.guardian, "keeper"


@internal
@view
def _check_roles():
    """
    @dev Nobody has two roles: who asks does not approve, and who stops it is not who is stopped.
    """
    assert self.owner != empty(address) and self.agent != empty(address), "role"
    assert self.cfo != empty(address) and self.guardian != empty(address), "role"
    assert self.owner != self.agent and self.owner != self.cfo and self.owner != self.guardian, "role"
    assert self.agent != self.cfo and self.agent != self.guardian and self.cfo != self.guardian, "role"


@internal
def _limit(asset: address, per_payment: uint256, per_window: uint256):
    assert per_payment <= per_window and per_window <= MOST, "limit"
    assert asset != self, "asset"
    self.limits[asset] = Limit(per_payment=per_payment, per_window=per_window)
    log Limited(asset=asset, per_payment=per_payment, per_window=per_window)


@internal
def _list(payee: address):
    assert payee != empty(address) and payee != self, "payee"
    self.payees[payee] = True
    log Listed(payee=payee, listed=True)


@internal
@view
def _name(change: Change) -> bytes32:
    return keccak256(abi_encode(change.kind, change.subject, change.first, change.second))


@internal
@view
def _digest(payment: Payment) -> bytes32:
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))
    said: bytes32 = keccak256(
        abi_encode(
            PAYMENT_TYPE,
            payment.intent,
            payment.asset,
            payment.payee,
            payment.amount,
            payment.fee_cap,
            payment.policy,
            payment.expiry,
        )
    )
    return keccak256(concat(b"\x19\x01", domain, said))


@internal
@view
def _signed(payment: Payment, v: uint8, r: bytes32, s: bytes32) -> bool:
    if convert(s, uint256) > HALF_ORDER:
        return False
    signer: address = ecrecover(self._digest(payment), v, r, s)
    return signer != empty(address) and signer == self.cfo


@internal
@view
def _spent(asset: address) -> uint256:
    now_in: uint256 = block.timestamp // WIDTH
    total: uint256 = 0
    for place: uint256 in range(SLOTS):
        word: uint256 = self.ring[asset][place]
        if (word >> 128) + BUCKETS >= now_in:
            total += word & MOST
    return total


@internal
def _count(asset: address, amount: uint256):
    limit: Limit = self.limits[asset]
    assert limit.per_payment > 0, "asset"
    assert amount <= limit.per_payment, "payment limit"
    assert self._spent(asset) + amount <= limit.per_window, "window limit"
    now_in: uint256 = block.timestamp // WIDTH
    there: uint256 = self.ring[asset][now_in % SLOTS]
    so_far: uint256 = 0
    if there >> 128 == now_in:
        so_far = there & MOST
    self.ring[asset][now_in % SLOTS] = (now_in << 128) | (so_far + amount)


@internal
def _send(asset: address, payee: address, amount: uint256):
    """
    @dev A token that answers nothing, that answers no, or that takes a part for itself: exactly the amount arrives,
        or nothing happens.
    """
    if asset == empty(address):
        assert self.balance >= amount, "funds"
        assert raw_call(payee, b"", value=amount, revert_on_failure=False), "false"
        return
    token: IERC20 = IERC20(asset)
    mine: uint256 = staticcall token.balanceOf(self)
    theirs: uint256 = staticcall token.balanceOf(payee)
    assert mine >= amount, "funds"
    assert extcall token.transfer(payee, amount, default_return_value=True), "false"
    mine_then: uint256 = staticcall token.balanceOf(self)
    theirs_then: uint256 = staticcall token.balanceOf(payee)
    assert mine_then == mine - amount and theirs_then == theirs + amount, "arrived"
