# pragma version 0.4.3
# pragma evm-version cancun
# A token that behaves as `mode` says. 0: as it should; 1: answers no and moves nothing; 2: answers no and moves it all
# the same; 3: keeps a part; 4: calls back with `payload` before it moves.

balanceOf: public(HashMap[address, uint256])
mode: public(uint256)
target: address
payload: Bytes[1024]
answered: public(bool)


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def behave(mode: uint256, target: address, payload: Bytes[1024]):
    self.mode = mode
    self.target = target
    self.payload = payload


@external
def transfer(to: address, amount: uint256) -> bool:
    if self.mode == 1:
        return False
    if self.mode == 4:
        self.mode = 0
        self.answered = raw_call(self.target, self.payload, revert_on_failure=False)
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount - (amount // 10 if self.mode == 3 else 0)
    return self.mode != 2
