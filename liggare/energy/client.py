"""The market, from Python: register homes, sign wishes, let anyone carry them, clear slots, look at accounts.

due slots -> readings of all homes + orders and balances of the chain -> hints -> clear
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.types import TxReceipt

from liggare.chain.connection import now
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.energy.book import Book, Home, MeterChange, Moment
from liggare.energy.codec import Entry, Tag, encode_hints, encode_readings, entry
from liggare.energy.messages import (
    NEVER,
    NEVER_BUY,
    NEVER_SELL,
    SLOT_SECONDS,
    UTILITY,
    Departure,
    Order,
    Readings,
    Replacement,
    Withdrawal,
    deposit_nonce,
    energy_domain,
)
from liggare.energy.settlement import Settled, Tariffs, Till
from liggare.errors import InvalidReadings
from liggare.messages import Signed, SignedMessage, address

__all__ = ["Due", "Energy", "Home", "MeterChange", "Proposal"]


LIFETIME = 3600
"""How long a withdrawal may wait for its block unless the owner says otherwise, in seconds."""


@dataclass(frozen=True)
class Due:
    """Slots that one clearing may take now, `count` from `first_slot` on; 0 while the first one's gate is closed.

    `homes` take part in all of them; `meters` names who measures each. `cut` is the slot that ends them early because
    a home joins or a meter changes in it; `missing_from` is the unix time from which homes may be marked as without a
    reading.
    """

    first_slot: int
    count: int
    homes: list[int]
    meters: dict[int, ChecksumAddress]
    cut: int | None
    missing_from: int


@dataclass(frozen=True)
class Proposal:
    """A clearing ready to be sent, and what it will do."""

    first_slot: int
    hints: bytes
    readings: bytes
    slots: list[Settled]
    balances: dict[int, int]


class Energy:
    """The market on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.contract = deployments.contract(w3, "EnergyMarket")
        self.domain = energy_domain(deployments)
        self.first_block = deployments.contracts["EnergyMarket"].block
        self.book = Book(w3, self.contract, self.domain, self.first_block)
        view = self.contract.functions
        prices = (view.retail(), view.feedIn(), view.gridFee())
        self.tariffs = Tariffs(*(int(price.call()) for price in prices))
        self.genesis, self.gate = int(view.genesis().call()), int(view.gate().call())
        self.grace, self.timeout = int(view.grace().call()), int(view.timeout().call())

    # ------------------------------------------------------------------ homes

    def register(self, owner: str, meter: str, sender: Sender, *, imported: int = 0, exported: int = 0) -> int:
        """Register a home and return its number; the sender is the registrar. It takes part from the next slot."""
        function = self.contract.functions.registerHome(address(owner), address(meter), imported, exported)
        sender.send(function)
        return self.home_of_meter(meter)

    def home_of_meter(self, meter: str) -> int:
        """Return the number of the home with this meter, 0 where there is none."""
        return int(self.contract.functions.homeOfMeter(address(meter)).call())

    def home(self, number: int) -> Home:
        """Return a home's owner, meter and slots."""
        owner, meter, from_slot, until_slot = self.contract.functions.homeOf(number).call()
        return Home(number, owner, meter, int(from_slot), int(until_slot))

    def homes(self) -> list[Home]:
        """Return all homes, by number."""
        count = int(self.contract.functions.homeCount().call())
        found = self._ask([self.contract.functions.homeOf(number) for number in range(1, count + 1)])
        return [Home(number, *each) for number, each in enumerate(found, 1)]

    def counters(self) -> list[tuple[Home, tuple[int, int]]]:
        """Return all homes, each with the counters (Wh imported, exported) up to which its energy is settled."""
        homes = self.homes()
        found = self._ask([self.contract.functions.countersOf(home.number) for home in homes])
        return [(home, (int(each[0]), int(each[1]))) for home, each in zip(homes, found, strict=True)]

    def replacement(
        self,
        owner: LocalAccount,
        home: int,
        meter: str,
        *,
        imported: int = 0,
        exported: int = 0,
        last: tuple[int, int],
        valid_before: int | None = None,
    ) -> Signed[Replacement]:
        """Sign that another meter takes the place of a home's from the next slot on; nothing is sent.

        `imported` and `exported` are its counters then, `last` those of the old one.
        """
        until = now(self.w3) + LIFETIME if valid_before is None else valid_before
        return Replacement(self.domain, home, address(meter), imported, exported, *last, until).sign(owner)

    def replace_meter(self, signed: Signed[Replacement], sender: Sender) -> TxReceipt:
        """Take a replacement to the chain; the sender is the registrar."""
        values = tuple(signed.message.values().values())
        return sender.send(self.contract.functions.replaceMeter(values, signed.signature))

    def departure(
        self, owner: LocalAccount, home: int, *, last: tuple[int, int], valid_before: int | None = None
    ) -> Signed[Departure]:
        """Sign that a home takes no part from the next slot on; `last` are its meter's counters then."""
        until = now(self.w3) + LIFETIME if valid_before is None else valid_before
        return Departure(self.domain, home, *last, until).sign(owner)

    def move_out(self, signed: Signed[Departure], sender: Sender) -> TxReceipt:
        """Take a departure to the chain; the sender is the registrar."""
        values = tuple(signed.message.values().values())
        return sender.send(self.contract.functions.moveOut(values, signed.signature))

    def changes(self) -> list[MeterChange]:
        """Return the changes of meters that are not in force yet, in the order in which they come into force."""
        applied = int(self.contract.functions.changesApplied().call())
        events = self.contract.events
        logs = [
            log
            for event in (events.MeterReplaced, events.HomeMovedOut)
            for log in event.get_logs(from_block=self.first_block)
        ]
        found = []
        for log in sorted(logs, key=lambda log: (log["blockNumber"], log["logIndex"]))[applied:]:
            at = log["args"]
            counters, last = (divmod(at.get(name, 0), 2**48) for name in ("counters", "last"))
            found.append(MeterChange(at["home"], at["fromSlot"], at.get("meter"), counters, last))
        return found

    # ------------------------------------------------------------------ orders

    def order(
        self,
        owner: LocalAccount,
        home: int,
        *,
        buy: int = NEVER_BUY,
        sell: int = NEVER_SELL,
        cap: int,
        from_slot: int | None = None,
        until_slot: int = NEVER,
        seq: int | None = None,
    ) -> Signed[Order]:
        """Sign a standing order; nothing is sent.

        `buy` and `sell` are thousandths of the currency per kWh, `cap` Wh per slot (0 withdraws). It begins in the next
        slot and has the next number unless said otherwise.
        """
        first = self.current_slot() + 1 if from_slot is None else from_slot
        number = self.seq(home) + 1 if seq is None else seq
        return Order(self.domain, home, number, first, until_slot, buy, sell, cap).sign(owner)

    def carry_order(self, signed: Signed[Order], sender: Sender) -> TxReceipt:
        """Take a signed order to the chain. Raises ContractRefused (`EnergySlotBegun`, `EnergyOrderOutdated`, …)."""
        values = tuple(signed.message.values().values())
        return sender.send(self.contract.functions.placeOrder(values, signed.signature))

    def order_of(self, home: int, slot: int | None = None) -> Order | None:
        """Return the order in force in a slot (default: the current one), None without one."""
        return self.book.look().order(home, self.current_slot() if slot is None else slot)

    def seq(self, home: int) -> int:
        """Return the number of the home's newest order, 0 before the first."""
        return int(self.contract.functions.orderOf(home, 0).call()[0])

    # ------------------------------------------------------------------ money

    def deposit_nonce(self, home: int, salt: bytes) -> bytes:
        """Return the nonce of a ReceiveWithAuthorization to this market's address that pays into a home's account."""
        return deposit_nonce(home, salt)

    def deposit(self, home: int, salt: bytes, signed: Signed[Any], sender: Sender) -> TxReceipt:
        """Carry a payment into an account (0: the utility's).

        `signed` is the payer's ReceiveWithAuthorization to `contract.address` with `deposit_nonce(home, salt)`.
        """
        values = signed.message.values()
        terms = (values["from"], values["value"], values["validAfter"], values["validBefore"])
        return sender.send(self.contract.functions.deposit(home, *terms, salt, signed.signature))

    def withdrawal(
        self,
        owner: LocalAccount,
        home: int,
        value: int,
        *,
        to: str | None = None,
        valid_before: int | None = None,
        nonce: bytes | None = None,
    ) -> Signed[Withdrawal]:
        """Sign that `value` units leave the account, to the owner unless said otherwise; nothing is sent."""
        message = Withdrawal(
            self.domain,
            home,
            owner.address if to is None else address(to),
            value,
            now(self.w3) + LIFETIME if valid_before is None else valid_before,
            secrets.token_bytes(32) if nonce is None else nonce,
        )
        return message.sign(owner)

    def withdraw(self, signed: Signed[Withdrawal], sender: Sender) -> TxReceipt:
        """Carry a withdrawal. Raises ContractRefused (`EnergyInsufficientBalance`, …)."""
        values = tuple(signed.message.values().values())
        return sender.send(self.contract.functions.withdraw(values, signed.signature))

    def balance(self, home: int) -> int:
        """Return the account's money in units of 10^-6, below zero debt to the utility; home 0 is the utility."""
        return int(self.contract.functions.balanceOf(home).call())

    def reserved(self, home: int) -> int:
        """Return what a home can't withdraw before its begun slots are settled."""
        return int(self.contract.functions.reserved(home).call())

    def is_used(self, signed: Signed[SignedMessage]) -> bool:
        """Tell whether an order or a withdrawal, or one that outdates it, has landed."""
        if isinstance(signed.message, Order):
            return self.seq(signed.message.home) >= signed.message.seq
        return bool(self.contract.functions.isWithdrawn(signed.id).call())

    # ------------------------------------------------------------------ slots

    def current_slot(self) -> int:
        """Return the slot that runs at the newest block."""
        return int(self.contract.functions.currentSlot().call())

    def next_slot(self) -> int:
        """Return the slot that is next to be cleared or closed."""
        return int(self.contract.functions.nextSlot().call())

    def begins(self, slot: int) -> int:
        """Return the unix time at which a slot begins, and the one before it ends."""
        return self.genesis + slot * SLOT_SECONDS

    def post(self, signed: Signed[Readings], sender: Sender) -> TxReceipt:
        """Post readings on chain, so that whoever clears their slots must use them."""
        values = tuple(signed.message.values().values())
        return sender.send(self.contract.functions.postReadings(values, signed.signature))

    def due(self, most: int = 96) -> Due:
        """Return the slots that may be cleared now in one transaction, at most `most` of them.

        They end where a home joins or a meter changes, since no batch may go across it.
        """
        moment = self.book.look()
        first, cuts = moment.next_slot, moment.cuts()
        ended = (max(int(time.time()), moment.timestamp) - self.genesis - self.gate) // SLOT_SECONDS
        end = min([max(ended, first), first + most, *(cut for cut in cuts if cut > first)])
        measured = ((home.number, moment.meter(home.number, first)) for home in moment.homes)
        meters = {home: meter for home, meter in measured if meter is not None}
        missing_from = self.begins(max(end, first + 1)) + self.grace
        return Due(first, end - first, list(meters), meters, end if end in cuts and end > first else None, missing_from)

    def posted(self, home: int, slot: int) -> bool:
        """Tell whether the home posted a reading of a slot that is not settled."""
        return bool(self.contract.functions.isPosted(home, slot).call())

    def propose(
        self, readings: Mapping[int, Signed[Readings] | None], count: int = 1, *, moment: Moment | None = None
    ) -> Proposal:
        """Compute the clearing of the next `count` slots from the homes' readings of exactly these slots.

        A home that is absent or None is marked as without a reading, or settled by what it posted; posted readings are
        cleared one slot at a time. `moment` is what the chain was found to be, if not now. Nothing is sent. Raises
        InvalidReadings where a reading is of other slots or another home, or where a home joins or a meter changes
        inside the slots (`due` tells where to cut).
        """
        now_ = self.book.look() if moment is None else moment
        first = now_.next_slot
        for cut in now_.cuts():
            if first < cut < first + count:
                raise InvalidReadings(f"a home joins or a meter changes in slot {cut}: clear up to it first")
        homes = [home.number for home in now_.homes if home.from_slot <= first]
        left = {home.number for home in now_.homes if home.until_slot <= first}
        counters = dict(now_.counters)
        balances = {home: now_.balances[home] for home in homes}
        till = Till(self.tariffs, balances, utility=now_.balances[UTILITY], debt=now_.debt)
        orders = [{home: now_.order(home, first + t) for home in homes} for t in range(count)]
        entries: list[Entry] = []
        pairs: dict[int, list[tuple[int, int]]] = {}
        for change in now_.changes:
            if change.from_slot <= first:
                till.change_meter(change.home, counters[change.home], change.last)
                counters[change.home] = change.counters
        for home in homes:
            signed = readings.get(home)
            if home in left:
                entries.append(Entry(Tag.MISSING))
                continue
            if signed is not None:
                _check(signed.message, home, first, count)
                start = (signed.message.imported, signed.message.exported)
                item, row = entry(signed, counters[home]), signed.message.pairs()
            elif count == 1 and (posted := now_.posted.get(home, {}).get(first)):
                item, start, row = Entry(Tag.POSTED), posted.start, [posted.pair]
            else:
                entries.append(Entry(Tag.MISSING))
                continue
            entries.append(item)
            gap = start[0] - counters[home][0], start[1] - counters[home][1]
            if min(gap) >= 0:
                till.settle_gap(home, *gap)
                pairs[home] = row
        settled = []
        for t in range(count):
            nets = {home: row[t][0] - row[t][1] for home, row in pairs.items()}
            settled.append(till.settle_slot(nets, orders[t]))
        hints = encode_hints((slot.clearing.lo, slot.clearing.hi) for slot in settled)
        return Proposal(first, hints, encode_readings(entries), settled, {0: till.utility, **till.balances})

    def clear(self, readings: Mapping[int, Signed[Readings] | None], sender: Sender, count: int = 1) -> TxReceipt:
        """Clear and settle the next `count` slots in one transaction. Raises as `propose`, and ContractRefused."""
        return self.carry_clearing(self.propose(readings, count), sender)

    def carry_clearing(self, proposal: Proposal, sender: Sender) -> TxReceipt:
        """Take a clearing to the chain."""
        function = self.contract.functions.clear(proposal.first_slot, proposal.hints, proposal.readings)
        return sender.send(function)

    def close(self, upto: int, sender: Sender) -> TxReceipt:
        """Close the slots before `upto` that nobody cleared in time."""
        return sender.send(self.contract.functions.closeSlots(upto))

    # ------------------------------------------------------------------ internal

    def _ask(self, functions: Sequence[Any]) -> list[Any]:
        """Return the results of many views with few requests."""
        found: list[Any] = []
        for start in range(0, len(functions), 500):
            with self.w3.batch_requests() as batch:
                for function in functions[start : start + 500]:
                    batch.add(function)
                found += batch.execute()
        return found


def _check(message: Readings, home: int, first: int, count: int) -> None:
    if (message.home, message.first_slot, message.count) != (home, first, count):
        raise InvalidReadings(
            f"home {home}: {count} slots from {first} on are due, the reading is home {message.home}'s"
            f" of {message.count} from {message.first_slot} on"
        )
