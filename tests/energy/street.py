"""A street of homes for tests: who lives there, what their meters count, and how it is put before the market."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brownie import EnergyMarket
from eth_account import Account

from liggare.energy.client import Energy
from liggare.energy.codec import encode_hints, encode_readings, entry
from liggare.energy.messages import NEVER, NEVER_BUY, NEVER_SELL, Order
from liggare.energy.meter import Meter
from liggare.payments.messages import ReceiveWithAuthorization
from tests.support import FOREVER, now, pass_time

KRONA = 10**6
FIRST = 11
"""The slot in which the homes join: everything is set up in the one before it."""


def key(number: int):
    """A key of its own for each number, the same in each run."""
    return Account.from_key(number.to_bytes(32, "big"))


@dataclass
class Street:
    """Homes by number, their owners' and meters' keys, and the market as Brownie sees it."""

    energy: Energy
    market: Any
    money: Any
    operator: Any
    owners: dict[int, Any] = field(default_factory=dict)
    meters: dict[int, Meter] = field(default_factory=dict)

    @property
    def domain(self):
        return self.energy.domain

    def go_to(self, slot: int, seconds: int = 5) -> None:
        """Let the clock run to a few seconds after a slot's beginning."""
        pass_time(self.energy.begins(slot) + seconds - now())

    def end_of(self, slot: int, seconds: int = 100) -> None:
        """Let the clock run until a slot may be cleared."""
        self.go_to(slot + 1, seconds)

    def move_in(self, owner, meter=None) -> int:
        """Register a home; its meter starts at zero."""
        meter = meter or key(0x1000 + len(self.meters) + 1)
        self.market.registerHome(owner.address, meter.address, 0, 0, {"from": self.operator})
        home = self.market.homeOfMeter(meter.address)
        self.owners[home] = owner
        self.meters[home] = Meter(meter, home, self.domain)
        return home

    def wish(self, home: int, **terms) -> Order:
        """An order of a home; what is not said is: sequence number 1, from FIRST on for good, 5 kWh a slot."""
        fields = {"seq": 1, "from_slot": FIRST, "until_slot": NEVER}
        fields |= {"buy_limit": NEVER_BUY, "sell_limit": NEVER_SELL, "cap": 5_000} | terms
        return Order(self.domain, home, **fields)

    def place(self, home: int, **terms):
        """Place an order of a home; return Brownie's receipt."""
        signed = self.wish(home, **terms).sign(self.owners[home])
        return self.carry(signed)

    def carry(self, signed):
        """Carry a signed order with the operator's gas."""
        values = tuple(signed.message.values().values())
        return self.market.placeOrder(values, signed.signature, {"from": self.operator})

    def pay_in(self, home: int, payer, value: int, salt: bytes = bytes(32)):
        """Deposit freshly minted money from a payer; return Brownie's receipt."""
        self.money.mint(payer.address, value, {"from": self.operator})
        signed = self.payment(home, payer, value, salt)
        return self.carry_payment(home, signed, salt)

    def payment(self, home: int, payer, value: int, salt: bytes = bytes(32)):
        """A payer's authorization that pays into a home's account."""
        domain = self.domain.__class__("Liggare Krona", "1", self.domain.chain_id, self.money.address)
        nonce = self.energy.deposit_nonce(home, salt)
        message = ReceiveWithAuthorization(domain, payer.address, self.market.address, value, 0, FOREVER, nonce)
        return message.sign(payer)

    def carry_payment(self, home: int, signed, salt: bytes = bytes(32)):
        """Carry a signed payment into a home's account."""
        at = signed.message
        terms = (at.from_, at.value, at.valid_after, at.valid_before)
        return self.market.deposit(home, *terms, salt, signed.signature, {"from": self.operator})

    def read(self, slot: int, *slots: dict[int, tuple[int, int]]):
        """Let the meters count and sign consecutive slots: each a dict home -> (Wh imported, Wh exported)."""
        return {home: self.meters[home].read(slot, [each[home] for each in slots]) for home in slots[0]}

    def batch(self, readings) -> bytes:
        """The readings of all homes as calldata; absent homes are marked as without a reading."""
        joined = [home.number for home in self.energy.homes() if home.from_slot <= self.market.nextSlot()]
        return encode_readings(
            [entry(readings.get(home), tuple(map(int, self.market.countersOf(home)))) for home in joined]
        )

    def send(self, slot: int, hints, readings: bytes):
        """Call `clear`; return Brownie's receipt."""
        return self.market.clear(slot, encode_hints(hints), readings, {"from": self.operator})

    def attempt(self, slot: int, hints, readings: bytes) -> None:
        """Try `clear` without sending it, which is quicker where it shall be refused."""
        self.market.clear.call(slot, encode_hints(hints), readings, {"from": self.operator})

    def clear(self, readings, count: int = 1):
        """Compute and clear the next slots; return Brownie's receipt."""
        proposal = self.energy.propose(readings, count)
        return self.market.clear(proposal.first_slot, proposal.hints, proposal.readings, {"from": self.operator})

    def balances(self) -> list[int]:
        """The balances of the utility and of all homes."""
        return [int(self.market.balanceOf(home)) for home in range(len(self.meters) + 1)]

    def held(self) -> int:
        """The money that the market holds."""
        return int(self.money.balanceOf(self.market.address))


def market_at(deployments):
    """The market as Brownie sees it."""
    return EnergyMarket.at(deployments.contracts["EnergyMarket"].address)
