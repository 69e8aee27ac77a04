"""A bank for tests: who brings tokens and takes them out again, and how that is put before the vault."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from brownie import OddToken
from brownie.convert.utils import build_function_selector, get_type_strings
from eth_abi import encode

from liggare.payments.vault import Payout, Vault
from tests.support import FOREVER

SALT = b"\x5a" * 32


class Mood(IntEnum):
    """How the odd token behaves; as in OddToken."""

    PLAIN = 0
    RETURNS_NOTHING = 1
    RETURNS_FALSE = 2
    RETURNS_HALF_A_WORD = 3
    MOVES_NOTHING = 4
    KEEPS_FROM_RECEIVER = 5
    TAKES_MORE_FROM_SENDER = 6
    PAUSED = 7


@dataclass
class Bank:
    """The vault and its token as Brownie sees them, and the package's client. `dan` has ether and brings tokens."""

    vault: Vault
    contract: Any
    token: Any
    money: Any
    operator: Any
    dan: Any

    @property
    def scale(self) -> int:
        return self.vault.scale

    def give(self, value: int) -> None:
        """Dan has tokens for `value` units of money, and allows the vault to take them."""
        amount = value * self.scale
        self.token.mint(self.dan, amount, {"from": self.dan})
        allowed = self.token.allowance(self.dan, self.contract)
        self.token.approve(self.contract, allowed + amount, {"from": self.dan})

    def deposit(self, to, value: int):
        """Dan brings tokens for `value` units of money to `to`."""
        self.give(value)
        return self.contract.deposit(to.address, value, {"from": self.dan})

    def wish(self, owner, value: int, *, to=None, salt: bytes = SALT) -> Payout:
        """The owner's signed withdrawal, to itself by default."""
        to = (to or owner).address
        return self.vault.withdrawal(owner, to, value, salt=salt, valid_before=FOREVER)

    def withdraw(self, wish: Payout, *, to=None, salt: bytes | None = None, sender=None):
        """Carry a withdrawal; `to` and `salt` as a cheating carrier has them."""
        message = wish.signed.message
        terms = (message.from_, to or wish.to, message.value, 0, FOREVER, salt or wish.salt)
        return self.contract.withdraw(*terms, wish.signed.signature, {"from": sender or self.operator})

    def set_mood(self, mood: Mood) -> None:
        self.token.setMood(mood, {"from": self.dan})

    def standing(self) -> tuple[int, int, int]:
        """Money issued by the vault, tokens held for it in units of money, and money in the vault's own account."""
        return self.contract.issued(), self.contract.held() // self.scale, self.money.balanceOf(self.contract)


def answer(name: str, *values, container=OddToken) -> bytes:
    """What a call reverts with: a custom error as bytes."""
    item = next(i for i in container.abi if i["type"] == "error" and i["name"] == name)
    return bytes.fromhex(build_function_selector(item)[2:]) + encode(get_type_strings(item["inputs"]), values)
