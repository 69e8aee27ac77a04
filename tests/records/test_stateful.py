"""Random histories of both contracts against plain-Python mirrors that were written from the promises alone."""

from __future__ import annotations

import hypothesis.strategies as st
from brownie import CareRegistry, RecordAccess
from brownie import accounts as brownie_accounts
from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from liggare.records.messages import Grant, Revoke, RevokeAll, Terms, blind
from tests.records.conftest import EVER
from tests.support import FOREVER, isolated, now, pass_time, refused

PATIENTS = [Account.from_key(bytes([8] * 31 + [i])) for i in (1, 2)]
ORGANISATIONS = [Account.from_key(bytes([9] * 31 + [i])).address for i in (1, 2, 3)]
TERMS = [Terms(0b0110, 0b1, 0, EVER), Terms(0b1111, 0b11, 0, EVER), Terms(0b1 << 50, 0b1, 0, 1_000)]
SALT = b"\x5a" * 32
INSURER, INSURER_CAP = 2, 0b1110
HISTORY = settings(max_examples=10, stateful_step_count=10, deadline=None, suppress_health_check=HealthCheck.all())

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


def test_random_histories_of_the_registry_agree_with_the_mirror(registry, operator, replay):
    run_state_machine_as_test(registry_machine(registry, operator, replay), settings=HISTORY)


def test_random_histories_of_the_grants_agree_with_the_mirror(access, registry, operator, domain, replay):
    run_state_machine_as_test(access_machine(access, registry, operator, domain, replay), settings=HISTORY)
