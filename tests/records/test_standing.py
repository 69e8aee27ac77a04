"""The twin of the contracts: in random histories it decides as they do, at each step, whoever asks for what."""

from __future__ import annotations

import random
from collections import Counter
from typing import ClassVar

import pytest
from eth_account import Account

from liggare.errors import ContractRefused
from liggare.records.cache import AccessCache
from liggare.records.categories import EMERGENCIES, PURPOSES, RIGHTS
from liggare.records.client import Refusal
from liggare.records.messages import Terms
from liggare.records.standing import Standings
from tests.records.conftest import EVER, EVERYTHING, category, purpose, role
from tests.support import FOREVER, now, pass_time

DAY = 86_400
TERMS = [Terms.of(["Observation", "Condition"], ["TREAT"], 0, EVER), Terms.of(["Claim"], ["HPAYMT", "TREAT"], 0, EVER)]
SALTS = [bytes([number]) * 32 for number in (1, 2)]


def person(number):
    return Account.from_key(bytes([6] * 31 + [number]))


class History:
    """A random history: two patients, six who may become guardians or successors, three organisations."""

    def __init__(self, seed, client, carrier, registry, operator, cache):
        self.dice = random.Random(seed)
        self.client, self.carrier, self.registry, self.operator = client, carrier, registry, operator
        self.cache = cache
        self.patients = [person(number) for number in (1, 2)]
        self.others = [person(number) for number in range(3, 9)]
        self.by_address = {each.address: each for each in (*self.patients, *self.others)}
        self.ambulance, self.hospital, self.clinic = (person(number) for number in (20, 21, 22))
        self.shares = []
        self.done, self.told = Counter(), Counter()
        for who, roles in ((self.ambulance, role("emergency", "provider")), (self.hospital, role("provider"))):
            self.accredit(who, roles)

    def accredit(self, who, roles):
        cap = self.dice.choice([EVERYTHING, EVERYTHING, category("Observation", "Claim")])
        words = who.address, roles, cap, 0, FOREVER, self.dice.choice([2, 5])
        self.registry.accredit(*words, {"from": self.operator})

    def acting(self, patient, rights):
        """Somebody who may act so, mostly; else anybody."""
        view = self.cache.fresh()
        able = [who for who in self.by_address if view.may_act(patient.address, who, rights)]
        return self.by_address[self.dice.choice(able if able and self.dice.random() < 0.85 else list(self.by_address))]

    # ------------------------------------------------------------------ what may happen

    def grant(self, patient):
        words = self.dice.choice([self.hospital, self.ambulance, self.clinic]).address, self.dice.choice(SALTS)
        signed, share = self.client.grant(patient, *words, self.dice.choice(TERMS))
        self.client.carry(signed, self.carrier)
        self.shares.append(share)

    def revoke(self, patient):
        mine = [share for share in self.shares if share.author == patient.address]
        if mine:
            share = self.dice.choice(mine)
            self.client.carry(self.client.revoke(patient, share.grantee, share.salt), self.carrier)

    def revoke_all(self, patient):
        actor = self.by_address[self.cache.fresh().actor(patient.address)]
        self.client.carry(self.client.revoke_all(actor, patient=patient.address), self.carrier)

    def grant_for(self, patient):
        author = self.acting(patient, 1)
        words = patient.address, self.hospital.address, self.dice.choice(SALTS), self.dice.choice(TERMS)
        signed, share = self.client.grant_for(author, *words)
        self.client.carry(signed, self.carrier)
        self.shares.append(share)

    def revoke_for(self, patient):
        theirs = [share for share in self.shares if share.by and share.patient == patient.address]
        if theirs:
            share = self.dice.choice(theirs)
            signer = self.dice.choice([self.by_address[share.author], self.acting(patient, 15)])
            signed = self.client.revoke_for(signer, patient.address, share.author, share.blinded)
            self.client.carry(signed, self.carrier)

    def appoint(self, patient):
        rights = self.dice.sample(list(RIGHTS), self.dice.randint(1, 4))
        until = now() + self.dice.choice([5_000, 3 * DAY, 100 * DAY, 200 * DAY])
        appointer, guardian = self.acting(patient, 2), self.dice.choice(self.others)
        signed = self.client.appoint(appointer, patient.address, guardian.address, rights, until)
        self.client.carry(signed, self.carrier)

    def dismiss(self, patient):
        by, guardian = self.acting(patient, 2), self.dice.choice(self.others)
        self.client.carry(self.client.dismiss(by, patient.address, guardian.address), self.carrier)

    def set_recovery(self, patient):
        actor = self.by_address[self.cache.fresh().actor(patient.address)]
        if self.client.recovery(patient.address).ready_at and self.dice.random() < 0.8:
            return  # it would be stopped
        words = self.dice.choice([0, 1, 1, 2]), DAY
        self.client.carry(self.client.set_recovery(actor, *words, patient=patient.address), self.carrier)

    def recover(self, patient):
        view = self.cache.fresh()
        voters = [each for each in self.others if view.may_act(patient.address, each.address, 4)]
        voters = [each for each in voters if each.address != view.actor(patient.address)]
        if voters:
            successor = self.dice.choice(self.others).address
            approvals = [self.client.recover(each, patient.address, successor) for each in voters]
            self.client.carry_recovery(approvals, self.carrier)

    def stop_recovery(self, patient):
        actor = self.by_address[self.cache.fresh().actor(patient.address)]
        self.client.carry(self.client.stop_recovery(actor, patient=patient.address), self.carrier)

    def complete_recovery(self, patient):
        on_way = [each for each in self.patients if self.client.recovery(each.address).ready_at]
        patient = self.dice.choice(on_way or [patient])
        if self.dice.random() < 0.8:
            pass_time(self.client.recovery(patient.address).ready_at - now())
        self.client.complete_recovery(patient.address, self.carrier)

    def set_emergency(self, patient):
        actor = self.by_address[self.cache.fresh().actor(patient.address)]
        signed = self.client.set_emergency(actor, self.dice.random() < 0.7, patient=patient.address)
        self.client.carry(signed, self.carrier)

    def break_glass(self, patient):
        who = self.dice.choice([self.ambulance, self.ambulance, self.hospital])
        until = now() + self.dice.choice([300, DAY // 2, DAY - 60, DAY - 60, 2 * DAY])
        signed = self.client.break_glass(who, patient.address, self.dice.choice(EMERGENCIES), until)
        self.client.carry(signed, self.carrier)

    def change_organisation(self, patient):
        who = self.dice.choice([self.ambulance, self.hospital])
        if self.client.organisation(who.address).suspended:
            self.registry.resume(who.address, {"from": self.operator})
        elif self.dice.random() < 0.5:
            self.registry.suspend(who.address, {"from": self.operator})
        else:
            self.accredit(who, self.dice.choice([role("provider"), role("emergency")]))

    def wait(self, patient):
        pass_time(self.dice.choice([60, 60, 5_000, DAY + 1]))

    # ------------------------------------------------------------------ the comparison

    ODDS: ClassVar = {
        "grant": 2, "revoke": 1, "revoke_all": 1, "grant_for": 5, "revoke_for": 1, "appoint": 7, "dismiss": 1,
        "set_recovery": 2, "recover": 3, "stop_recovery": 0.5, "complete_recovery": 3, "set_emergency": 0.7,
        "break_glass": 4, "change_organisation": 1, "wait": 1,
    }  # fmt: skip

    def step(self):
        (name,) = self.dice.choices([*self.ODDS], [*self.ODDS.values()])
        try:
            getattr(self, name)(self.patients[self.dice.random() < 0.2])
            self.done[name] += 1
        except ContractRefused as exc:
            self.done[exc.name] += 1

    def compare(self):
        view, contract = self.cache.fresh(), self.client.contract.functions

        def ask(function, *words):
            return getattr(contract, function)(*words).call(block_identifier=view.number)

        for patient in self.patients:
            assert view.actor(patient.address) == ask("actorOf", patient.address)
            for who in self.dice.sample(list(self.by_address), 3):
                rights = self.dice.choice([0, 1, 2, 4, 8, 15])
                assert view.may_act(patient.address, who, rights) == ask("mayAct", patient.address, who, rights)
            words = self.dice.choice([self.ambulance, self.hospital]).address, patient.address
            what = self.dice.choice([0, *[category("Observation"), category("Condition")] * 4])
            reason = view.standings.emergency(*words).reason
            why = self.dice.choice([PURPOSES["BTG"], reason, reason, reason])
            told = Refusal(ask("whyNotEmergency", *words, what, why))
            assert view.why_not_emergency(*words, what, why) is told
            self.told[told] += 1
        for share in self.dice.sample(self.shares[-12:], min(6, len(self.shares))):
            what = self.dice.choice([0, share.terms.categories, share.terms.categories, category("Observation")])
            why = self.dice.choice([0, *[purpose("TREAT")] * 4, purpose("HPAYMT")])
            told = self.client.why_not(share, what, why, block=view.number)
            assert view.why_not(share, what, why, reader=share.grantee) is told
            self.told[told] += 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_random_history_the_twin_decides_as_the_contracts_and_the_replay_finds_nothing_off(
    w3, deployments, client, carrier, registry, operator, replay, seed
):
    cache = AccessCache(w3, deployments, clock=lambda: 0)
    history = History(seed, client, carrier, registry, operator, cache)
    for _ in range(60):
        history.step()
        history.compare()
    assert replay().findings == []
    # what must have come up, so that the agreement means something; the rest is asked for one by one below
    assert {"appoint", "grant", "grant_for"} <= set(history.done)
    assert {Refusal.NOTHING, Refusal.NO_EMERGENCY} < set(history.told)


def test_a_recovery_is_seen_as_the_contract_sees_it(w3, deployments, client, carrier, registry, operator, replay):
    cache = AccessCache(w3, deployments, clock=lambda: 0)
    patient, guardian, successor, hospital = (person(number) for number in (1, 3, 4, 21))
    people = [patient, guardian, successor]
    registry.accredit(hospital.address, role("provider"), EVERYTHING, 0, FOREVER, 0, {"from": operator})
    signed, own = client.grant(patient, hospital.address, SALTS[0], TERMS[0])
    client.carry(signed, carrier)
    shares = [own]

    def carry(signed):
        client.carry(signed, carrier)

    def grant_for(author):
        signed, share = client.grant_for(author, patient.address, hospital.address, SALTS[0], TERMS[0])
        client.carry(signed, carrier)
        shares.append(share)

    def found():
        """Who acts, and what may be read by the grants of patient, guardian and successor."""
        view = cache.fresh()
        actor = client.contract.functions.actorOf(patient.address).call(block_identifier=view.number)
        assert view.actor(patient.address) == actor
        for who in people:
            function = client.contract.functions.mayAct(patient.address, who.address, 1)
            may = function.call(block_identifier=view.number)
            assert view.may_act(patient.address, who.address, 1) == may
        asked = category("Observation"), purpose("TREAT")
        reasons = [view.why_not(share, *asked, reader=hospital.address) for share in shares]
        assert reasons == [client.why_not(share, *asked, block=view.number) for share in shares]
        return people[[who.address for who in people].index(actor)], reasons

    carry(client.appoint(patient, patient.address, guardian.address, ["grant", "recover"], now() + 100 * DAY))
    grant_for(guardian)
    carry(client.set_recovery(patient, 1, DAY))
    assert found() == (patient, [Refusal.NOTHING] * 2)
    for end in (False, True):
        client.carry_recovery([client.recover(guardian, patient.address, successor.address)], carrier)
        assert found() == (patient, [Refusal.NOTHING] * 2)
        pass_time(DAY)
        if not end:
            carry(client.stop_recovery(patient))
    client.complete_recovery(patient.address, carrier)
    assert found() == (successor, [Refusal.KEY_REPLACED, Refusal.NOT_AUTHOR])
    grant_for(successor)
    carry(client.appoint(successor, patient.address, guardian.address, ["grant"], now() + DAY))
    assert found() == (successor, [Refusal.KEY_REPLACED, Refusal.ALL_REVOKED, Refusal.NOTHING])
    carry(client.revoke_all(successor, patient=patient.address))
    assert found() == (successor, [Refusal.KEY_REPLACED, Refusal.ALL_REVOKED, Refusal.ALL_REVOKED])
    grant_for(guardian)
    assert found()[1][-1] is Refusal.NOTHING
    assert replay().findings == []


def test_an_emergency_is_seen_as_the_contract_sees_it(
    w3, deployments, client, carrier, registry, operator, anna, clinic
):
    """Each thing that ends it, alone and together with others: the reasons come in the contract's order."""
    cache = AccessCache(w3, deployments, clock=lambda: 0)
    told = set()

    def compare():
        view = cache.fresh()
        for what in (0, category("Observation"), category("Claim")):
            for why in (purpose("BTG"), purpose("ETREAT")):
                asked = clinic.address, anna.address, what, why
                expected = client.why_not_emergency(*asked, block=view.number)
                assert view.why_not_emergency(*asked) is expected
                told.add(expected)

    def accredit(roles, cap, end=FOREVER):
        registry.accredit(clinic.address, role(roles), category(cap), 0, end, 9, {"from": operator})

    compare()
    accredit("emergency", "Observation")
    compare()
    client.carry(client.break_glass(clinic, anna.address, "BTG", now() + 5_000), carrier)
    compare()
    client.carry(client.set_emergency(anna, False), carrier)
    compare()
    client.carry(client.set_emergency(anna, True), carrier)
    accredit("provider", "Observation")
    compare()
    accredit("provider", "Claim")
    compare()
    registry.suspend(clinic.address, {"from": operator})
    compare()
    pass_time(6_000)
    compare()
    registry.resume(clinic.address, {"from": operator})
    accredit("emergency", "Observation", now() + 100)
    client.carry(client.break_glass(clinic, anna.address, "ETREAT", now() + 5_000), carrier)
    compare()
    pass_time(200)
    compare()
    assert told == {
        Refusal.NOTHING,
        Refusal.NO_EMERGENCY,
        Refusal.EMERGENCY_OVER,
        Refusal.EMERGENCY_REFUSED,
        Refusal.CATEGORY_NOT_GRANTED,
        Refusal.PURPOSE_NOT_GRANTED,
        Refusal.GRANTEE_SUSPENDED,
        Refusal.GRANTEE_EXPIRED,
        Refusal.BEYOND_CAP,
        Refusal.NOT_EMERGENCY_SERVICE,
    }


def test_a_chain_of_guardians_falls_as_in_the_contract(w3, deployments, client, carrier, anna):
    cache = AccessCache(w3, deployments, clock=lambda: 0)
    chain = [anna, *(person(number) for number in range(3, 7))]

    def live():
        view = cache.fresh()
        found = [view.may_act(anna.address, who.address, 1) for who in chain]
        for who, expected in zip(chain, found, strict=True):
            function = client.contract.functions.mayAct(anna.address, who.address, 1)
            assert function.call(block_identifier=view.number) == expected
        return found

    def appoint(above, until):
        words = anna.address, chain[above + 1].address, ["grant", "appoint"], until
        client.carry(client.appoint(chain[above], *words), carrier)

    until = now() + 1_000
    for above in range(4):
        appoint(above, until - 100 * above)
    assert live() == [True] * 5
    assert cache.fresh().standings.depth(anna.address, chain[4].address, now()) == 4
    with pytest.raises(ContractRefused, match="RecordsTooDeep"):
        client.carry(client.appoint(chain[4], anna.address, person(9).address, ["grant"], until - 900), carrier)
    appoint(1, until - 100)  # the second anew: what hung on it does not come back
    assert live() == [True, True, True, False, False]
    appoint(2, until - 200)
    assert live() == [True, True, True, True, False]
    pass_time(850)  # the third's time is over
    assert live() == [True, True, True, False, False]
    client.carry(client.dismiss(anna, anna.address, chain[1].address), carrier)
    assert live() == [True, False, False, False, False]


def test_what_ends_by_the_clock_has_ended_for_guardians_and_emergencies_too(
    w3, deployments, client, carrier, registry, operator, anna, bo, hospital, clinic
):
    clock = [0]
    cache = AccessCache(w3, deployments, clock=lambda: clock[0])
    until = now() + 1_000
    for who, roles in ((hospital, "provider"), (clinic, "emergency")):
        registry.accredit(who.address, role(roles), EVERYTHING, 0, FOREVER, 9, {"from": operator})
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant", "read"], until), carrier)
    client.carry(client.break_glass(clinic, anna.address, "BTG", until), carrier)
    signed, share = client.grant_for(bo, anna.address, hospital.address, SALTS[0], TERMS[0])
    client.carry(signed, carrier)

    def asked():
        view = cache.fresh()
        emergency = clinic.address, anna.address, category("Observation"), purpose("BTG")
        return (
            view.may_act(anna.address, bo.address, 8),
            view.why_not(share, category("Observation"), purpose("TREAT"), reader=hospital.address),
            view.why_not_emergency(*emergency),
        )

    assert asked() == (True, Refusal.NOTHING, Refusal.NOTHING)
    clock[0] = until
    assert asked() == (False, Refusal.NOT_AUTHOR, Refusal.EMERGENCY_OVER)


def test_a_moment_that_is_kept_stays_as_it_was():
    standings = Standings()
    words = {"patient": "0x" + "11" * 20, "blinded": bytes(32)}
    assert standings.apply("RecordAccess", "Granted", {**words, "slot": b"\7" * 22 + bytes(9) + b"\1"})
    kept = standings.copy()
    assert standings.apply("RecordAccess", "Revoked", {**words, "version": 2})
    assert kept.grant(words["patient"], words["patient"], bytes(32)).version == 1
    assert standings.grant(words["patient"], words["patient"], bytes(32)).version == 2


@pytest.mark.parametrize(
    ("event", "values"),
    [
        ("Granted", {"blinded": bytes(32), "slot": bytes(31) + b"\2"}),
        ("Revoked", {"blinded": bytes(32), "version": 2}),
        ("GrantedFor", {"author": "0x" + "22" * 20, "blinded": bytes(32), "slot": bytes(31) + b"\2"}),
        ("RevokedFor", {"author": "0x" + "22" * 20, "blinded": bytes(32), "version": 0}),
        ("GuardianDismissed", {"guardian": "0x" + "22" * 20, "version": 2}),
        ("RecoverySet", {"threshold": 1, "delay": 1, "version": 2}),
        ("RecoveryStopped", {"version": 3}),
        ("Recovered", {"successor": "0x" + "22" * 20, "epoch": 5}),
        ("EmergencySet", {"allowed": True, "version": 2}),
    ],
)
def test_an_event_before_which_one_is_missing_is_told(event, values):
    assert not Standings().apply("RecordAccess", event, {"patient": "0x" + "11" * 20, **values})
