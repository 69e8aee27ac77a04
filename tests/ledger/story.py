"""A history of all three domains, honest and drawn at random: what verification must find nothing wrong with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from eth_account import Account

from liggare.chain.sender import Sender
from liggare.energy.client import Energy
from liggare.energy.messages import UTILITY
from liggare.energy.meter import Meter
from liggare.messages import Signed
from liggare.payments.client import Payments
from liggare.payments.escrow import Escrow
from liggare.payments.messages import Permit, counter
from liggare.payments.purchase import Release
from liggare.records.categories import CATEGORIES
from liggare.records.client import Records
from liggare.records.messages import Terms
from tests.support import FOREVER, now, pass_time

KRONA = 10**6
DAY = 86_400


@dataclass
class Story:
    """Tells a history; `draw` decides what a person would."""

    w3: object
    deployments: object
    operator: Sender
    carrier: Sender
    draw: random.Random
    people: list = field(default_factory=list)

    def __post_init__(self):
        self.money = Payments(self.w3, self.deployments)
        self.records = Records(self.w3, self.deployments)
        self.energy = Energy(self.w3, self.deployments)
        self.people = [self.person() for _ in range(4)]

    def person(self):
        """Somebody new."""
        return Account.from_key(self.draw.randbytes(32))

    def tell(self):
        """Tell all of it."""
        self.pay()
        self.carry_batches()
        self.pay_directly()
        self.buy()
        self.grant()
        self.guard()
        self.trade()
        return self

    # ------------------------------------------------------------------ payments

    def pay(self):
        """Everybody gets money; some pay each other one by one, and give up a nonce."""
        for person in [*self.people, self.carrier.account]:
            self.money.mint(person.address, self.draw.randrange(500, 900) * KRONA, self.operator)
        for _ in range(self.draw.randrange(3, 6)):
            payer, payee = self.draw.sample(self.people, 2)
            signed = self.money.pay(payer, payee.address, self.draw.randrange(KRONA), nonce=self.draw.randbytes(32))
            self.money.carry(signed, self.carrier)
        self.money.carry_cancel(self.money.cancel(self.people[0], self.draw.randbytes(32)), self.carrier)

    def carry_batches(self):
        """Batches with bundles, and with items that can't be paid for each reason that there is."""
        for _ in range(2):
            payer, payee, other = self.draw.sample(self.people, 3)
            first = self.money.nonces(payer.address).next()
            good = [
                self.money.pay(payer, payee.address, self.draw.randrange(KRONA), nonce=counter(first + number))
                for number in range(3)
            ]
            late = self.money.pay(payer, payee.address, 1, nonce=self.draw.randbytes(32), valid_before=5)
            early = self.money.pay(
                payer, payee.address, 1, nonce=self.draw.randbytes(32), valid_after=2**31, valid_before=2**32 - 1
            )
            poor = self.money.pay(payee, other.address, 10**6 * KRONA, nonce=self.draw.randbytes(32))
            forged = Signed(good[0].message, self.money.pay(other, payee.address, 1).signature)
            void = self.money.pay(payer, str(self.money.contract.address), 1, nonce=self.draw.randbytes(32))
            rows = [(self.draw.choice(self.people).address, self.draw.randrange(KRONA)) for _ in range(3)]
            bundle = self.money.bundle(other, rows, nonce=self.draw.randbytes(32))
            items = [forged, *good, good[0], late, early, poor, void, bundle]
            self.draw.shuffle(items)
            self.money.carry_batch(items, self.carrier)

    def pay_directly(self):
        """Somebody with ether sends for itself, and moves another's money within its allowance."""
        functions, payer, payee = self.money.contract.functions, *self.people[:2]
        self.carrier.send(functions.transfer(payee.address, 3 * KRONA))
        self.carrier.send(functions.approve(self.operator.account.address, 2 * KRONA))
        self.operator.send(functions.transferFrom(self.carrier.account.address, payee.address, KRONA))
        permit = Permit(self.money.domain, payer.address, self.carrier.account.address, 5 * KRONA, 0, FOREVER)
        signature = permit.sign(payer).signature
        method = "permit(address,address,uint256,uint256,bytes)"
        words = (payer.address, self.carrier.account.address, 5 * KRONA, FOREVER, signature)
        self.carrier.send(self.money.contract.get_function_by_signature(method)(*words))
        self.carrier.send(functions.transferFrom(payer.address, payee.address, 4 * KRONA))
        self.operator.send(functions.mint(self.operator.account.address, 9 * KRONA))
        self.operator.send(functions.burn(4 * KRONA))

    def buy(self):
        """Two purchases: one released, one that waits."""
        escrow, (buyer, seller, arbiter) = Escrow(self.w3, self.deployments), self.people[:3]
        times = {"claim_after": now() + DAY, "reclaim_after": now() + 2 * DAY}
        for judge in ("0x" + "0" * 40, arbiter.address):
            offer = escrow.offer(seller, buyer.address, 7 * KRONA, self.draw.randbytes(32), arbiter=judge, **times)
            escrow.fund(offer, escrow.payment(buyer, offer.message), self.carrier)
        escrow.carry(Release(escrow.domain, offer.message).sign(buyer), self.carrier)

    # ------------------------------------------------------------------ records

    def grant(self):
        """Organisations, grants one by one, in a batch with items that can't be carried out, and in a bundle."""
        records, everything, year = self.records, list(CATEGORIES), now() + 365 * DAY
        self.hospital, self.insurer, self.ambulance = self.carrier.account, self.person(), self.person()
        records.accredit(self.operator, self.hospital.address, ["provider"], everything, 0, year)
        records.accredit(self.operator, self.insurer.address, ["insurer"], ["Claim"], 0, year)
        records.accredit(self.operator, self.ambulance.address, ["emergency"], everything, 0, year, 3)
        records.suspend(self.operator, self.insurer.address)
        records.resume(self.operator, self.insurer.address)
        terms, anna = Terms.of(["Observation"], ["TREAT"], 0, year), self.people[0]
        salts = [self.draw.randbytes(32) for _ in self.people]
        records.carry(records.grant(anna, self.hospital.address, salts[0], terms)[0], self.carrier)
        records.carry(records.grant(anna, self.hospital.address, salts[0], terms)[0], self.carrier)
        made = [
            records.grant(each, self.hospital.address, salt, terms)[0]
            for each, salt in zip(self.people, salts, strict=True)
        ]
        late = records.grant(anna, self.insurer.address, self.draw.randbytes(32), terms, deadline=5)[0]
        again = records.grant(anna, self.insurer.address, salts[1], terms, version=9)[0]
        forged = Signed(records.grant(anna, self.insurer.address, salts[2], terms)[0].message, made[1].signature)
        records.carry_batch([*made, late, again, forged], self.carrier)
        bundle, _ = records.bundle(
            self.people[1],
            [(self.insurer.address, salts[3], terms), (self.hospital.address, salts[1], None)],
        )
        records.carry(bundle, self.carrier)
        records.carry(records.revoke(anna, self.hospital.address, salts[0]), self.carrier)
        records.carry(records.revoke_all(self.people[2]), self.carrier)
        records.anchor(self.carrier, self.draw.randbytes(32))
        for size in (2, 5):
            records.post_log_head(self.carrier, size, self.draw.randbytes(32))

    def guard(self):
        """A guardian grants and begins a recovery, which is stopped; the glass is broken."""
        records, (anna, bo, cia) = self.records, self.people[:3]
        year = now() + 365 * DAY
        for who, rights in ((bo, ["grant", "recover", "appoint"]), (cia, ["grant"])):
            records.carry(records.appoint(anna, anna.address, who.address, rights, year), self.carrier)
        terms = Terms.of(["Condition"], ["TREAT"], 0, year)
        signed, share = records.grant_for(bo, anna.address, self.hospital.address, self.draw.randbytes(32), terms)
        records.carry(signed, self.carrier)
        records.carry(records.revoke_for(anna, anna.address, bo.address, share.blinded), self.carrier)
        records.carry(records.dismiss(anna, anna.address, cia.address), self.carrier)
        records.carry(records.set_recovery(anna, 1, DAY), self.carrier)
        records.carry_recovery([records.recover(bo, anna.address, cia.address)], self.carrier)
        records.carry(records.stop_recovery(anna), self.carrier)
        broken = records.break_glass(self.ambulance, anna.address, "ETREAT", now() + 3600)
        records.carry(broken, self.carrier)
        records.carry(records.set_emergency(bo, False), self.carrier)

    # ------------------------------------------------------------------ energy

    def trade(self):
        """Three homes trade two slots; one had posted its readings, one changes its meter; money goes in and out."""
        energy, owners = self.energy, self.people[:3]
        meters = {}
        for owner in owners:
            key = self.person()
            number = energy.register(owner.address, key.address, self.operator)
            meters[number] = Meter(key, number, energy.domain)
        for number, owner in zip(meters, owners, strict=True):
            self.deposit(number, owner, 50 * KRONA)
            buy, sell = self.draw.randrange(1200, 2400), self.draw.randrange(700, 1200)
            energy.carry_order(energy.order(owner, number, buy=buy, sell=sell, cap=5000), self.carrier)
        self.money.mint(self.operator.account.address, 500 * KRONA, self.operator)
        self.deposit(UTILITY, self.operator.account, 400 * KRONA)
        first = energy.current_slot() + 1
        start = energy.next_slot()
        for skipped in range(start, first):  # a slot that began before all orders did
            pass_time(energy.begins(skipped + 1) + energy.grace + 1 - now())
            energy.clear({}, self.carrier)
        first = energy.next_slot()
        pass_time(energy.begins(first + 2) + energy.gate + 1 - now())
        rows = {number: [(0, 900), (300, 0)] if number == 1 else [(800, 0), (0, 400)] for number in meters}
        signed = {number: meters[number].read(first, rows[number]) for number in meters}
        energy.clear(signed, self.carrier, 2)
        last, key = list(meters)[-1], self.person()
        energy.carry_order(energy.order(owners[0], 1, sell=900, cap=3000), self.carrier)
        third = energy.next_slot()
        pass_time(energy.begins(third + 1) + energy.gate + 1 - now())
        posted = meters[1].read(third, [(0, 500)])
        energy.post(posted, self.carrier)
        energy.clear({number: meters[number].read(third, [(450, 0)]) for number in meters if number != 1}, self.carrier)
        old = (meters[last].imported, meters[last].exported)
        energy.replace_meter(energy.replacement(owners[-1], last, key.address, last=old), self.operator)
        energy.withdraw(energy.withdrawal(owners[0], 1, KRONA), self.carrier)

    def deposit(self, number, owner, value):
        """Pay into an account of the market."""
        salt = self.draw.randbytes(32)
        words = {"nonce": self.energy.deposit_nonce(number, salt), "valid_before": FOREVER}
        signed = self.money.receive(owner, self.energy.contract.address, value, **words)
        self.energy.deposit(number, salt, signed, self.carrier)
