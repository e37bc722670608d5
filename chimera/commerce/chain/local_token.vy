# pragma version 0.4.3
# The token of the chain in this process: a plain ERC-20 without worth, all of it with whoever makes it.

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

name: public(constant(String[32])) = "Chimera local dollar"
symbol: public(constant(String[8])) = "LUSD"
decimals: public(constant(uint8)) = 6
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])


@deploy
def __init__(supply: uint256):
    self.totalSupply = supply
    self.balanceOf[msg.sender] = supply
    log Transfer(sender=empty(address), receiver=msg.sender, amount=supply)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
    return True
