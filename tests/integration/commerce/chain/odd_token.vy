# pragma version 0.4.3
# Tokens that do not keep their word, for tests. kind 0: plain. 1: answers false and moves nothing. 2: keeps a tenth for
# itself and says so. 3: says that it moved everything and moves nothing. 4: keeps a tenth and says that it moved everything.

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

kind: public(uint256)
balanceOf: public(HashMap[address, uint256])


@deploy
def __init__(supply: uint256, kind: uint256):
    self.kind = kind
    self.balanceOf[msg.sender] = supply


@external
def become(kind: uint256):
    self.kind = kind


@external
def transfer(receiver: address, amount: uint256) -> bool:
    if self.kind == 1:
        return False
    if self.kind == 3:
        log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
        return True
    kept: uint256 = 0
    if self.kind in [2, 4]:
        kept = amount // 10
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount - kept
    if self.kind == 2:
        log Transfer(sender=msg.sender, receiver=receiver, amount=amount - kept)
    else:
        log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
    return True
