"""The calls of the market, followed as EnergyMarket does (`liggare.ledger.witness`).

Each order, withdrawal, change of meter and departure is signed by its home's owner, or sent by it; each posted reading
by the meter; a clearing tells the readings that it was given. Prices and fills are the rules' (`liggare.energy.rules`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liggare.chain.calls import CREATION, Call
from liggare.energy.messages import Departure, Order, Readings, Replacement, Withdrawal, deposit_nonce
from liggare.energy.rules import CONTRACT, EnergyRules
from liggare.errors import InvalidReadings
from liggare.ledger.witness import Told
from liggare.messages import SignedMessage

__all__ = ["MarketWitness"]

MONEY = "ZeroFeePayments"
CLEARED = ("SlotCleared", "ReadingMissing", "FeedInUnpaid")
"""What a clearing tells before the readings it took: all of it is computed anew by the rules."""
WORD = 2**48


class MarketWitness:
    """Follows the calls of EnergyMarket; `rules` hold the state at each place."""

    contracts: tuple[str, ...] = (CONTRACT,)

    def __init__(self, rules: EnergyRules) -> None:
        self.rules, self.domain = rules, rules.domain
        self.address = self.domain.verifying_contract
        self._functions: dict[str, Callable[[Call, Told], None]] = {
            CREATION: lambda *_: None,
            "registerHome": self._registered,
            "replaceMeter": self._replaced,
            "moveOut": self._moved_out,
            "placeOrder": self._placed,
            "deposit": self._deposited,
            "withdraw": self._withdrew,
            "postReadings": self._posted,
            "clear": self._cleared,
            "closeSlots": self._closed,
        }

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call."""
        self._functions[call.function](call, told)

    def _owned(self, call: Call, told: Told, message: SignedMessage, home: int, before: int | None = None) -> None:
        """Check that a home's owner signed a message, or called itself."""
        if before is not None and call.timestamp >= before:
            told.off(call, "a signed message lands before its time is over", f"before {before}", call.timestamp)
        owner = self.rules.owners.get(home)
        if owner is None:
            told.off(call, "a message is of a registered home", f"1 to {len(self.rules.meters)}", home)
        elif call.caller == owner:
            told.counts["messages sent by their owner"] += 1
        else:
            told.signed(call, owner, digest=message.id, given=call.arguments)

    def _registered(self, call: Call, told: Told) -> None:
        told.caller(call, self.rules.registrar, "the registrar")
        told.take(call, "HomeRegistered", **call.arguments)

    def _replaced(self, call: Call, told: Told) -> None:
        terms = call.arguments["replacement"]
        told.caller(call, self.rules.registrar, "the registrar")
        self._owned(call, told, Replacement(self.domain, *terms.values()), terms["home"], terms["validBefore"])
        counters = terms["imported"] * WORD + terms["exported"]
        last = terms["lastImported"] * WORD + terms["lastExported"]
        told.take(call, "MeterReplaced", home=terms["home"], meter=terms["meter"], counters=counters, last=last)

    def _moved_out(self, call: Call, told: Told) -> None:
        terms = call.arguments["departure"]
        told.caller(call, self.rules.registrar, "the registrar")
        self._owned(call, told, Departure(self.domain, *terms.values()), terms["home"], terms["validBefore"])
        last = terms["lastImported"] * WORD + terms["lastExported"]
        told.take(call, "HomeMovedOut", home=terms["home"], last=last)

    def _placed(self, call: Call, told: Told) -> None:
        terms = call.arguments["order"]
        order = Order(self.domain, *terms.values())
        self._owned(call, told, order, terms["home"])
        told.take(call, "OrderPlaced", id=bytes(order.id), **terms)

    def _deposited(self, call: Call, told: Told) -> None:
        given = call.arguments
        nonce = deposit_nonce(given["home"], given["salt"])
        told.take(call, "Deposited", home=given["home"], **{"from": given["from"]}, value=given["value"], nonce=nonce)
        names = ("from", "value", "validAfter", "validBefore", "signature")
        payment: dict[str, Any] = {name: given[name] for name in names}
        told.within(call, MONEY, "receiveWithAuthorization", self.address, **payment, to=self.address, nonce=nonce)

    def _withdrew(self, call: Call, told: Told) -> None:
        terms = call.arguments["withdrawal"]
        message = Withdrawal(self.domain, *terms.values())
        self._owned(call, told, message, terms["home"], terms["validBefore"])
        told.take(call, "Withdrawn", id=bytes(message.id), **{name: terms[name] for name in ("home", "to", "value")})
        told.within(call, MONEY, "transfer", self.address, to=terms["to"], value=terms["value"])

    def _posted(self, call: Call, told: Told) -> None:
        terms = call.arguments["readings"]
        try:
            message = Readings(self.domain, *terms.values())
        except InvalidReadings as exc:
            told.off(call, "posted readings have 6 bytes for each slot", "so many", str(exc))
        else:
            meter = self.rules.meter(terms["home"], terms["firstSlot"])
            if meter is None:
                told.off(call, "readings are posted of a home that has a meter", "one", terms["home"])
            else:
                told.signed(call, meter, digest=message.id, given=call.arguments)
        told.take(call, "ReadingsPosted", **terms)

    def _cleared(self, call: Call, told: Told) -> None:
        given = call.arguments
        hints = given["hints"]
        while told.next is not None and told.next.contract == CONTRACT and told.next.event in CLEARED:
            told.advance()
        count = len(hints) // 6
        told.take(call, "ReadingsTaken", firstSlot=given["firstSlot"], count=count, readings=given["readings"])

    def _closed(self, call: Call, told: Told) -> None:
        told.take(call, "SlotsClosed", nextSlot=call.arguments["upto"])
