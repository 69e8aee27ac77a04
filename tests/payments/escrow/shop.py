"""A shop for tests: who buys from whom, under which terms, and how it is put before the escrow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from liggare.payments.escrow import Escrow, State
from liggare.payments.messages import ReceiveWithAuthorization
from liggare.payments.purchase import Arbitration, Purchase
from tests.payments.conftest import KRONA
from tests.support import FOREVER, now, pass_time, rpc

DAY = 86_400
ORDER = b"\x0d" * 32
PRICE = 120 * KRONA


def without_zeros(time: int) -> int:
    """The next time none of whose four bytes is zero: a zero byte of calldata costs less gas."""
    while 0 in time.to_bytes(4, "big"):
        time += 1
    return time


@dataclass
class Shop:
    """Anna buys for 120 from Bo; the escrow as Brownie sees it. `start` is when the shop opened."""

    escrow: Escrow
    contract: Any
    money: Any
    operator: Any
    buyer: Any
    seller: Any
    start: int = field(default_factory=now)

    @property
    def claim_after(self) -> int:
        return without_zeros(self.start + 14 * DAY)

    @property
    def reclaim_after(self) -> int:
        return without_zeros(self.start + 28 * DAY)

    def terms(self, **changes) -> Purchase:
        """The purchase; any member can be changed."""
        members = {
            "domain": self.escrow.domain,
            "buyer": self.buyer.address,
            "seller": self.seller.address,
            "arbiter": "0x" + "0" * 40,
            "value": PRICE,
            "claim_after": self.claim_after,
            "reclaim_after": self.reclaim_after,
            "order_hash": ORDER,
        }
        return Purchase(**{**members, **changes})

    def payment(self, purchase: Purchase, **changes) -> ReceiveWithAuthorization:
        """What the buyer signs to pay it in."""
        members = {
            "domain": self.escrow.payments.domain,
            "from_": purchase.buyer,
            "to": self.contract.address,
            "value": purchase.value,
            "valid_after": 0,
            "valid_before": FOREVER,
            "nonce": bytes(purchase.id),
        }
        return ReceiveWithAuthorization(**{**members, **changes})

    def fund(self, purchase: Purchase, payer=None, offer: bytes = b"", *, payment=None, sender=None):
        """Pay it in, signed by the payer; return Brownie's receipt."""
        signed = (payment or self.payment(purchase)).sign(payer or self.buyer)
        return self.contract.fund(*self.words(purchase, signed, offer), {"from": sender or self.operator})

    def words(self, purchase: Purchase, signed, offer: bytes = b""):
        """What `fund` takes."""
        validity = (signed.message.valid_after, signed.message.valid_before)
        return values(purchase), *validity, signed.signature, offer

    def end(self, word, signer, sender=None):
        """Carry a word that ends a purchase."""
        if isinstance(word, Arbitration):
            method, parts = self.contract.arbitrate, (word.to_buyer, word.to_seller)
        else:
            method, parts = getattr(self.contract, type(word).__name__.lower()), ()
        return method(values(word.purchase), *parts, word.sign(signer).signature, {"from": sender or self.operator})

    def reclaim(self, purchase: Purchase, sender=None):
        return self.contract.reclaim(values(purchase), {"from": sender or self.operator})

    def state(self, purchase: Purchase) -> State:
        return State(self.contract.stateOf(purchase.id))

    def held(self) -> int:
        return self.money.balanceOf(self.contract)

    def go_to(self, time: int) -> None:
        """Let the clock run until a time; what is sent afterwards comes after it."""
        pass_time(time + 1 - now())


def mine_at(time: int) -> None:
    """Mine a block of exactly this time; what is called, not sent, is asked at it."""
    rpc("evm_mine", time)
    assert now() == time


def values(purchase: Purchase):
    """The terms as a tuple, as Brownie takes a struct."""
    return tuple(purchase.values().values())
