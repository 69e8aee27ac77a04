"""What homes and meters sign, as JSON: what the operator takes over HTTP and MQTT.

    {"chainId": 1337, "contract": "0x…", "signature": "0x…",
     "readings": {"home": 3, "firstSlot": 96, "imported": 51200, "exported": 800, "deltas": "0x…"}}

or, for `readings`, one of

    order       {"home", "seq", "fromSlot", "untilSlot", "buyLimit", "sellLimit", "cap"}
    withdrawal  {"home", "to", "value", "validBefore", "nonce"}
    deposit     {"home", "from", "value", "validAfter", "validBefore", "salt"}

A deposit's signature is of the money's ReceiveWithAuthorization, with the nonce that home and salt make. `contract` is
the market's address in each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from liggare.energy.messages import Order, Readings, Withdrawal, deposit_nonce
from liggare.errors import MarketRefused
from liggare.messages import Domain, Signed, SignedMessage, address
from liggare.relay.wire import STRICT, Address, Envelope, Signature, Word, form, plain_signature, whole

__all__ = [
    "Authorize",
    "Deposit",
    "Placed",
    "SignedDeposit",
    "SignedOrder",
    "SignedReadings",
    "SignedWithdrawal",
    "document",
    "read",
]

MOST_SLOTS = 2976
"""Slots in a batch: a month of 31 days."""
Number = Annotated[int, whole(24), form(24, "3")]
Counter = Annotated[int, whole(48), form(48, "51200")]
Money = Annotated[int, whole(64), form(64, "25000000")]
Authorize = Callable[[str, str, int, int, int, bytes], SignedMessage]
"""The money's ReceiveWithAuthorization from payer, payee, value, valid after, valid before and nonce."""
Time = Annotated[int, whole(48), form(48, "1796083200")]


class ReadingsBody(BaseModel):
    """Counters in Wh at the beginning of the first slot, then per slot uint24 imported, uint24 exported."""

    model_config = STRICT
    home: Number
    first_slot: Number = Field(alias="firstSlot")
    imported: Counter
    exported: Counter
    deltas: Annotated[str, Field(pattern="^0x([0-9a-fA-F]{12}){1,%d}$" % MOST_SLOTS)]  # noqa: UP031  braces


class OrderBody(BaseModel):
    """Limits in thousandths of the currency per kWh, cap in Wh per slot."""

    model_config = STRICT
    home: Number
    seq: Annotated[int, whole(32), form(32, "1")]
    from_slot: Number = Field(alias="fromSlot")
    until_slot: Number = Field(alias="untilSlot")
    buy_limit: Number = Field(alias="buyLimit")
    sell_limit: Number = Field(alias="sellLimit")
    cap: Number


class WithdrawalBody(BaseModel):
    """Value in units of 10^-6."""

    model_config = STRICT
    home: Number
    to: Address
    value: Money
    valid_before: Time = Field(alias="validBefore")
    nonce: Word


class DepositBody(BaseModel):
    """Value in units of 10^-6; the nonce of the authorization is keccak256(abi.encode(home, salt))."""

    model_config = STRICT
    home: Number
    from_: Address = Field(alias="from")
    value: Money
    valid_after: Time = Field(alias="validAfter")
    valid_before: Time = Field(alias="validBefore")
    salt: Word


class SignedReadings(Envelope):
    """A batch of readings with its meter's signature."""

    readings: ReadingsBody
    signature: Signature

    def item(self, domain: Domain) -> Signed[Readings]:
        """Return the signed message, bound to `domain`; whether that is this one's, the caller checks."""
        at = self.readings
        deltas = bytes.fromhex(at.deltas[2:])
        message = Readings(domain, at.home, at.first_slot, at.imported, at.exported, deltas)
        return Signed(message, plain_signature(self.signature))


class SignedOrder(Envelope):
    """A standing order with its owner's signature."""

    order: OrderBody
    signature: Signature

    def item(self, domain: Domain) -> Signed[Order]:
        """Return the signed message, bound to `domain`."""
        at = self.order
        terms = (at.home, at.seq, at.from_slot, at.until_slot, at.buy_limit, at.sell_limit, at.cap)
        return Signed(Order(domain, *terms), plain_signature(self.signature))


class SignedWithdrawal(Envelope):
    """A withdrawal with its owner's signature."""

    withdrawal: WithdrawalBody
    signature: Signature

    def item(self, domain: Domain) -> Signed[Withdrawal]:
        """Return the signed message, bound to `domain`."""
        at = self.withdrawal
        nonce = bytes.fromhex(at.nonce[2:])
        message = Withdrawal(domain, at.home, address(at.to), at.value, at.valid_before, nonce)
        return Signed(message, plain_signature(self.signature))


class SignedDeposit(Envelope):
    """A deposit with its payer's signature."""

    deposit: DepositBody
    signature: Signature

    def item(self, authorize: Authorize, market: str) -> Signed[SignedMessage]:
        """Return the signed authorization, payable to the market."""
        at = self.deposit
        nonce = deposit_nonce(at.home, bytes.fromhex(at.salt[2:]))
        parties, times = (address(at.from_), address(market)), (at.valid_after, at.valid_before)
        return Signed(authorize(*parties, at.value, *times, nonce), plain_signature(self.signature))


Placed = SignedOrder | SignedWithdrawal | SignedDeposit
"""What the operator carries to the chain."""


def read(given: Any) -> SignedReadings:
    """Return the model of a batch's JSON document. Raises MarketRefused `Malformed`, naming the member that is off."""
    try:
        return SignedReadings.model_validate(given)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "readings"
        raise MarketRefused("Malformed", f"{where}: {first['msg']}", at=where) from None


class Deposit:
    """A signed authorization together with the home and salt that its nonce was made of."""

    def __init__(self, home: int, salt: bytes, signed: Signed[Any]) -> None:
        self.home, self.salt, self.signed = home, salt, signed


def document(item: Signed[Any] | Deposit, market: Domain) -> dict[str, Any]:
    """Return the JSON form of what was signed; money as text, the rest as numbers."""
    signed = item.signed if isinstance(item, Deposit) else item
    values = {name: _plain(name, value) for name, value in signed.message.values().items()}
    kind = type(signed.message).__name__.lower()
    if isinstance(item, Deposit):
        names = ("from", "value", "validAfter", "validBefore")
        values = {"home": item.home, **{name: values[name] for name in names}, "salt": "0x" + item.salt.hex()}
        kind = "deposit"
    envelope = {"chainId": market.chain_id, "contract": market.verifying_contract}
    return {**envelope, kind: values, "signature": "0x" + signed.signature.hex()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if name == "value" else value
