"""Random histories of both contracts against plain-Python mirrors that were written from the promises alone."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
from brownie import CareRegistry, RecordAccess
from brownie import accounts as brownie_accounts
from brownie.exceptions import VirtualMachineError
from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from liggare.records.messages import (
    Appoint,
    BreakGlass,
    Dismiss,
    Grant,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
    Terms,
    blind,
)
from tests.records.conftest import APPOINT, DAY, EVER, GRANT, READ, RECOVER
from tests.support import FOREVER, isolated, now, pass_time, refused

PATIENTS = [Account.from_key(bytes([8] * 31 + [i])) for i in (1, 2)]
ORGANISATIONS = [Account.from_key(bytes([9] * 31 + [i])).address for i in (1, 2, 3)]
TERMS = [Terms(0b0110, 0b1, 0, EVER), Terms(0b1111, 0b11, 0, EVER), Terms(0b1 << 50, 0b1, 0, 1_000)]
SALT = b"\x5a" * 32
INSURER, INSURER_CAP = 2, 0b1110
# Hypothesis tries ten histories of one step first: with fewer than eleven examples no long one would be seen
HISTORY = settings(
    max_examples=14,
    stateful_step_count=10,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=HealthCheck.all(),
)

people = st.sampled_from(PATIENTS)
organisations = st.sampled_from(ORGANISATIONS)
caps = st.sampled_from([0b0010, 0b1110, 0b1111, 2**64 - 1, 1 << 50])


class World(RuleBasedStateMachine):
    """A machine in a world of its own."""

    def __init__(self):
        super().__init__()
        self.world = isolated()
        self.world.__enter__()

    def teardown(self):
        self.world.__exit__(None, None, None)


def registry_machine(contract, operator, replay):
    class Organisations(World):
        def __init__(self):
            super().__init__()
            self.roles, self.cap, self.times, self.suspended = {}, {}, {}, set()

        @rule(who=organisations, roles=st.integers(1, 15), cap=caps, start=st.integers(-50, 50), days=st.integers(0, 2))
        def accredit(self, who, roles, cap, start, days):
            begin = now() + start * 100
            end = begin + days * 5000
            words = (who, roles, cap, begin, end, 1, {"from": operator})
            had = self.roles.get(who, 0)
            if days == 0:
                with refused(CareRegistry, "CareInvalidValidity", begin, end):
                    contract.accredit(*words)
            elif had & INSURER and not roles & INSURER:
                with refused(CareRegistry, "CareInsurerForLife", roles, had):
                    contract.accredit(*words)
            elif roles & INSURER and cap | INSURER_CAP != INSURER_CAP:
                with refused(CareRegistry, "CareBeyondInsurerCap", cap, INSURER_CAP):
                    contract.accredit(*words)
            else:
                contract.accredit(*words)
                self.roles[who], self.cap[who], self.times[who] = roles, cap, (begin, end)

        @rule(who=organisations, suspend=st.booleans())
        def suspend_or_resume(self, who, suspend):
            verb = contract.suspend if suspend else contract.resume
            if who not in self.roles:
                with refused(CareRegistry, "CareNotAccredited", who):
                    verb(who, {"from": operator})
            elif (who in self.suspended) == suspend:
                with refused(CareRegistry, "CareSuspensionUnchanged", who, suspend):
                    verb(who, {"from": operator})
            else:
                verb(who, {"from": operator})
                (self.suspended.add if suspend else self.suspended.remove)(who)

        @rule(seconds=st.integers(1, 6000))
        def wait(self, seconds):
            pass_time(seconds)

        @invariant()
        def each_organisation_stands_as_the_mirror_says(self):
            time = now()
            for who in ORGANISATIONS:
                standing, roles, cap = contract.standingOf(who, block_identifier="latest")
                begin, end = self.times.get(who, (0, 0))
                expected = 4
                if who not in self.roles:
                    expected = 0
                elif who in self.suspended:
                    expected = 1
                elif time < begin:
                    expected = 2
                elif time >= end:
                    expected = 3
                assert (standing, roles, cap) == (expected, self.roles.get(who, 0), self.cap.get(who, 0))

        @invariant()
        def no_insurer_is_above_its_cap(self):
            for who in ORGANISATIONS:
                _, roles, cap = contract.standingOf(who)
                assert not (roles & INSURER and cap & ~INSURER_CAP)

        @invariant()
        def the_replay_of_the_events_finds_nothing_off(self):
            assert replay().findings == []

    return Organisations


def access_machine(contract, registry, operator, domain, replay):
    def carry(message, patient):
        signature = message.sign(patient).signature
        verb = message.TYPE[0].lower() + message.TYPE[1:]
        method = getattr(contract, verb)[",".join([*message.FIELDS.values(), "bytes"])]
        return method(*message.values().values(), signature, {"from": operator})

    class Grants(World):
        def __init__(self):
            super().__init__()
            self.versions, self.live, self.epochs, self.heads = {}, {}, {}, {}

        @initialize()
        def accredit(self):
            for who in ORGANISATIONS[:2]:  # the third is never accredited
                registry.accredit(who, 1, 0b0111, 0, FOREVER, 0, {"from": operator})

        @rule(patient=people, who=organisations, terms=st.sampled_from(TERMS), skip=st.sampled_from([0, 0, 0, -1, 1]))
        def grant(self, patient, who, terms, skip):
            key = (patient.address, who)
            expected = self.versions.get(key, 0) + 1
            version, epoch = expected + skip, self.epochs.get(patient.address, 0)
            words = (blind(who, SALT), terms.commitment(SALT, version), epoch, version, FOREVER)
            message = Grant(domain, patient.address, *words)
            if skip:
                with refused(RecordAccess, "RecordsWrongVersion", version, expected):
                    carry(message, patient)
            else:
                carry(message, patient)
                self.versions[key], self.live[key] = version, terms

        @rule(patient=people, who=organisations)
        def revoke(self, patient, who):
            key = (patient.address, who)
            version = self.versions.get(key, 0) + 1
            carry(Revoke(domain, patient.address, blind(who, SALT), version, FOREVER), patient)
            self.versions[key] = version
            self.live.pop(key, None)

        @rule(patient=people)
        def revoke_all(self, patient):
            carry(RevokeAll(domain, patient.address, self.epochs.get(patient.address, 0), FOREVER), patient)
            self.epochs[patient.address] = contract.epochs(patient.address)
            self.live = {key: terms for key, terms in self.live.items() if key[0] != patient.address}

        @rule(patient=people, forger=people, who=organisations)
        def forge(self, patient, forger, who):
            if patient is not forger:
                version = self.versions.get((patient.address, who), 0) + 1
                message = Revoke(domain, patient.address, blind(who, SALT), version, FOREVER)
                with refused(RecordAccess, "RecordsInvalidSignature", patient.address):
                    carry(message, forger)

        @rule(custodian=st.sampled_from([1, 2]), growth=st.integers(0, 3), fork=st.booleans())
        def post_log_head(self, custodian, growth, fork):
            custodian = brownie_accounts[custodian]
            heads = self.heads.setdefault(custodian.address, [(0, bytes(32))])
            size, word = heads[0] if fork else heads[-1]
            root = bytes([len(heads)]) * 32
            words = (word, size + growth, root, {"from": custodian})
            if word != heads[-1][1]:
                with refused(RecordAccess, "RecordsLogForked", word, heads[-1][1]):
                    contract.postLogHead(*words)
            elif growth == 0:
                with refused(RecordAccess, "RecordsLogShrunk", size, size):
                    contract.postLogHead(*words)
            else:
                contract.postLogHead(*words)
                heads.append((size + growth, root[:24] + (size + growth).to_bytes(8, "big")))

        @invariant()
        def exactly_what_is_granted_may_be_read(self):
            for patient in PATIENTS:
                for who in ORGANISATIONS:
                    terms = self.live.get((patient.address, who))
                    for shown in TERMS[:2]:
                        may = terms is shown and who in ORGANISATIONS[:2]
                        words = (patient.address, who, SALT, shown.values())
                        assert contract.mayRead(*words, 0b0010, 0b1) == may  # within every cap
                        assert not contract.mayRead(*words, 0b1000, 0b1)  # beyond the cap

        @invariant()
        def a_version_only_counts_what_landed(self):
            for (patient, who), version in self.versions.items():
                assert contract.grants(patient, blind(who, SALT))[2] == version

        @invariant()
        def heads_stand_as_posted(self):
            for custodian, heads in self.heads.items():
                assert contract.logHeads(custodian) == "0x" + heads[-1][1].hex()

        @invariant()
        def the_replay_of_the_events_finds_nothing_off(self):
            assert replay().findings == []

    return Grants


OWN, *OTHERS = [Account.from_key(bytes([7] * 31 + [i])) for i in range(1, 6)]
"""The patient's own key, and people who may become guardians and successors."""
ANYBODY = [OWN, *OTHERS]
SERVICE = Account.from_key(bytes([6] * 32))
HALF_DAY = DAY // 2
MAX_DEPTH = 4

anybody = st.sampled_from(ANYBODY)
signers = st.sampled_from([None, None, None, None, *ANYBODY])
"""Mostly the actor, which is None here."""
rights = st.sampled_from([15, 15, APPOINT | GRANT, APPOINT | GRANT | READ, GRANT, RECOVER, READ, 0])
half_days = st.integers(1, 6)


@dataclass(eq=False)
class Appointment:
    """A guardianship in the mirror: no serials, only which appointment stands under which."""

    appointer: str
    rights: int
    until: int
    above: Any


@contextmanager
def refused_as(name):
    """Expect a refusal by this name, whatever it compares; where there is none to expect, expect none."""
    if name is None:
        yield
        return
    with pytest.raises(VirtualMachineError) as caught:
        yield
    assert caught.value.revert_msg.partition(":")[0] == name


def acting_machine(contract, registry, operator, domain):
    def carry(message, signer):
        verb = message.TYPE[0].lower() + message.TYPE[1:]
        method = getattr(contract, verb)
        if verb == "revokeAll":
            method = method["address,uint40,uint48,bytes"]
        return method(*message.values().values(), message.sign(signer).signature, {"from": operator})

    class Acting(World):
        """Who acts for one patient: guardians in chains, recoveries, and what hangs on them; and emergencies."""

        def __init__(self):
            super().__init__()
            self.actor, self.term, self.epoch = OWN, object(), object()
            self.appointments, self.versions, self.grants = {}, {}, {}
            self.threshold, self.pending, self.ready, self.recoveries = 0, None, 0, 0
            self.refused, self.words, self.broken, self.breaks, self.days = False, 0, 0, 0, {}

        @initialize()
        def begin(self):
            pass_time(DAY - now() % DAY + 20_000)  # steps of half days stay away from midnight
            registry.accredit(ORGANISATIONS[0], 1, 0b0111, 0, FOREVER, 0, {"from": operator})
            registry.accredit(SERVICE.address, 8, 0b0111, 0, FOREVER, 2, {"from": operator})
            for guardian in OTHERS[:2]:
                self.appoint(OWN, guardian, 15, 6)
            self.set_recovery(OWN, 1)

        # -------------------------------------------------------------- the mirror

        def standing(self, who):
            """What grants and appointments of `who` hang on: the actor's term, or the appointment."""
            return self.term if who == self.actor.address else self.appointments.get(who)

        def depth(self, who):
            """How far below the actor a live guardian stands; 0 if it is none."""
            found = self.appointments.get(who)
            for depth in range(1, MAX_DEPTH + 1):
                if found is None or now() >= found.until or (depth > 1 and not found.rights & APPOINT):
                    return 0
                if found.above is not self.standing(found.appointer):
                    return 0
                if found.appointer == self.actor.address:
                    return depth
                found = found.above
            return 0

        def may(self, who, rights):
            found = self.appointments.get(who)
            return found is not None and not rights & ~found.rights and self.depth(who) > 0

        def next(self, guardian):
            self.versions[guardian] = self.versions.get(guardian, 0) + 1

        # -------------------------------------------------------------- guardians

        @rule(appointer=signers, guardian=anybody, rights=rights, span=half_days)
        def appoint(self, appointer, guardian, rights, span):
            appointer = appointer or self.actor
            until = now() + span * HALF_DAY - 1000
            version = self.versions.get(guardian.address, 0) + 1
            problem, above = None, self.appointments.get(appointer.address)
            present = self.appointments.get(guardian.address)
            if guardian in (OWN, self.actor):
                problem = "RecordsInvalidGuardian"
            elif appointer is not self.actor:
                if not self.may(appointer.address, APPOINT):
                    problem = "RecordsMayNotAct"
                elif self.depth(appointer.address) == MAX_DEPTH:
                    problem = "RecordsTooDeep"
                elif present and present.appointer != appointer.address and self.depth(guardian.address):
                    problem = "RecordsGuardianTaken"
                elif rights & ~(above.rights & ~RECOVER):
                    problem = "RecordsInvalidRights"
                elif rights and until > above.until:
                    problem = "RecordsInvalidUntil"
            if problem is None and rights == 0:
                problem = "RecordsInvalidRights"
            words = (OWN.address, appointer.address, guardian.address, rights, until, version, FOREVER)
            with refused_as(problem):
                carry(Appoint(domain, *words), appointer)
            if problem is None:
                found = Appointment(appointer.address, rights, until, self.standing(appointer.address))
                self.appointments[guardian.address] = found
                self.next(guardian.address)

        @rule(guardian=anybody, by=signers)
        def dismiss(self, guardian, by):
            by = by or self.actor
            found = self.appointments.get(guardian.address)
            allowed = by in (guardian, self.actor) or (found and found.appointer == by.address)
            version = self.versions.get(guardian.address, 0) + 1
            with refused_as(None if allowed else "RecordsMayNotDismiss"):
                carry(Dismiss(domain, OWN.address, by.address, guardian.address, version, FOREVER), by)
            if allowed:
                self.appointments.pop(guardian.address, None)
                self.next(guardian.address)

        # -------------------------------------------------------------- grants

        @rule(author=anybody)
        def grant(self, author):
            may = author is not OWN and (author is self.actor or self.may(author.address, GRANT))
            version = self.grants.get(author.address, (0,))[0] + 1
            epoch = contract.epochOf(OWN.address, author.address) if may else 0
            words = (blind(ORGANISATIONS[0], SALT), TERMS[0].commitment(SALT, version), epoch, version, FOREVER)
            with refused_as(None if may else "RecordsMayNotAct"):
                carry(GrantFor(domain, OWN.address, author.address, *words), author)
            if may:
                self.grants[author.address] = (version, self.standing(author.address), self.epoch)

        @rule(author=st.sampled_from(OTHERS), by=signers)
        def revoke(self, author, by):
            by = by or self.actor
            version = self.grants.get(author.address, (0,))[0] + 1
            allowed = by in (author, self.actor)
            words = (OWN.address, author.address, blind(ORGANISATIONS[0], SALT), version, FOREVER)
            with refused_as(None if allowed else "RecordsInvalidSignature"):
                carry(RevokeFor(domain, *words), by)
            if allowed:
                self.grants[author.address] = (version, None, None)

        @rule()
        def revoke_all(self):
            carry(RevokeAll(domain, OWN.address, contract.epochs(OWN.address), FOREVER), self.actor)
            self.epoch = object()

        # -------------------------------------------------------------- recovery

        @rule(by=signers, threshold=st.integers(0, 2))
        def set_recovery(self, by, threshold):
            by = by or self.actor
            allowed = by is self.actor
            message = SetRecovery(domain, OWN.address, threshold, DAY, self.recoveries + 1, FOREVER)
            with refused_as(None if allowed else "RecordsInvalidSignature"):
                carry(message, by)
            if allowed:
                self.threshold, self.pending, self.ready = threshold, None, 0
                self.recoveries += 1

        @rule(successor=anybody, chosen=st.sets(st.sampled_from(OTHERS[:3]), max_size=2))
        def recover(self, successor, chosen):
            message = Recover(domain, OWN.address, successor.address, self.recoveries + 1, FOREVER)
            guardians = sorted(chosen, key=lambda person: int(person.address, 16))
            problem = None
            if successor in (OWN, self.actor):
                problem = "RecordsInvalidSuccessor"
            elif self.threshold == 0 or len(guardians) < self.threshold:
                problem = "RecordsTooFewApprovals"
            elif not all(self.may(guardian.address, RECOVER) for guardian in guardians):
                problem = "RecordsMayNotAct"
            approvals = [(guardian.address, message.sign(guardian).signature) for guardian in guardians]
            with refused_as(problem):
                contract.recover(*message.values().values(), approvals, {"from": operator})
            if problem is None:
                self.pending, self.ready = successor, now() + DAY
                self.recoveries += 1

        @rule(by=signers)
        def stop_recovery(self, by):
            by = by or self.actor
            allowed = by is self.actor
            with refused_as(None if allowed else "RecordsInvalidSignature"):
                carry(StopRecovery(domain, OWN.address, self.recoveries + 1, FOREVER), by)
            if allowed:
                self.pending, self.ready = None, 0
                self.recoveries += 1

        @rule()
        def complete_recovery(self):
            problem = None
            if self.pending is None:
                problem = "RecordsNoRecovery"
            elif now() < self.ready:
                problem = "RecordsRecoveryNotReady"
            with refused_as(problem):
                contract.completeRecovery(OWN.address, {"from": operator})
            if problem is None:
                self.actor, self.term, self.epoch = self.pending, object(), object()
                self.threshold, self.pending, self.ready = 0, None, 0

        # -------------------------------------------------------------- emergencies

        @rule(by=signers, allowed=st.booleans())
        def set_emergency(self, by, allowed):
            by = by or self.actor
            may = by is self.actor
            with refused_as(None if may else "RecordsInvalidSignature"):
                carry(SetEmergency(domain, OWN.address, allowed, self.words + 1, FOREVER), by)
            if may:
                self.refused = not allowed
                self.words += 1

        @rule()
        def break_glass(self):
            today = now() // DAY
            problem = None
            if self.refused:
                problem = "RecordsEmergencyRefused"
            elif self.days.get(today, 0) == 2:
                problem = "RecordsQuotaUsed"
            words = (0b10, now() + HALF_DAY - 1000, self.breaks + 1, FOREVER)
            message = BreakGlass(domain, SERVICE.address, OWN.address, *words)
            with refused_as(problem):
                carry(message, SERVICE)
            if problem is None:
                self.broken, self.breaks = message.until, self.breaks + 1
                self.days[today] = self.days.get(today, 0) + 1

        @rule()
        def recover_by_one(self):
            self.recover(OTHERS[2], set(OTHERS[:1]))

        @rule(span=st.integers(1, 3))
        def wait(self, span):
            pass_time(span * HALF_DAY)

        # -------------------------------------------------------------- what must hold

        @invariant()
        def exactly_those_act_whom_the_mirror_names(self):
            assert contract.actorOf(OWN.address) == self.actor.address
            for who in ANYBODY:
                for right in (GRANT, APPOINT | READ, RECOVER):
                    expected = who is self.actor or self.may(who.address, right)
                    assert contract.mayAct(OWN.address, who.address, right) == expected

        @invariant()
        def exactly_what_live_authors_granted_may_be_read(self):
            for author in OTHERS:
                _, standing, epoch = self.grants.get(author.address, (0, None, None))
                live = author is self.actor or self.may(author.address, GRANT)
                expected = live and standing is self.standing(author.address) and epoch is self.epoch
                words = (OWN.address, author.address, ORGANISATIONS[0], SALT, TERMS[0].values(), 0b0010, 0b1)
                assert (contract.whyNotBy(*words) == 0) == bool(expected)

        @invariant()
        def nobody_stands_too_deep_or_above_its_appointer(self):
            for who in ANYBODY:
                if self.depth(who.address):
                    appointer, rights, until = contract.guardians(OWN.address, who.address)[:3]
                    if appointer != self.actor.address:
                        _, above_rights, above_until = contract.guardians(OWN.address, appointer)[:3]
                        assert not rights & ~(above_rights & ~RECOVER)
                        assert until <= above_until

        @invariant()
        def the_recovery_stands_as_the_mirror_says(self):
            threshold, _, ready, version, successor = contract.recoveries(OWN.address)
            pending = self.pending.address if self.pending else "0x" + "0" * 40
            assert (threshold, ready, version, successor) == (self.threshold, self.ready, self.recoveries, pending)

        @invariant()
        def an_emergency_reads_exactly_in_its_time(self):
            words = (SERVICE.address, OWN.address, 0b0010, 0b10)
            expected = bool(self.breaks) and now() < self.broken and not self.refused
            assert (contract.whyNotEmergency(*words) == 0) == expected
            assert contract.brokenToday(SERVICE.address) == self.days.get(now() // DAY, 0)

    return Acting


def test_random_histories_of_the_registry_agree_with_the_mirror(registry, operator, replay):
    run_state_machine_as_test(registry_machine(registry, operator, replay), settings=HISTORY)


def test_random_histories_of_the_grants_agree_with_the_mirror(access, registry, operator, domain, replay):
    run_state_machine_as_test(access_machine(access, registry, operator, domain, replay), settings=HISTORY)


def test_random_histories_of_those_who_act_agree_with_the_mirror(access, registry, operator, domain):
    run_state_machine_as_test(
        acting_machine(access, registry, operator, domain), settings=settings(HISTORY, stateful_step_count=20)
    )
