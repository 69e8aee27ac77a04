"""The replay of guardians, recoveries, emergencies, batches and bundles: each lie about them is found and named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from eth_account import Account

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.records.client import Refusal
from liggare.records.messages import Terms, blind
from liggare.records.rules import RecordRules
from tests.records.conftest import EVER, SALT, category, role
from tests.support import FOREVER, isolated, now, pass_time

DAY = 86_400
TERMS = Terms.of(["Observation"], ["TREAT"], 0, EVER)
NOBODY = "0x" + "0" * 40
STRANGER = Account.from_key(bytes([5] * 31 + [99])).address


def person(number):
    return Account.from_key(bytes([5] * 31 + [number]))


PATIENT, MOTHER, FATHER, AUNT, NURSE, SUCCESSOR, AMBULANCE, OTHER = (person(number) for number in range(1, 9))
"""Mother and father may recover; the mother appoints the aunt, the aunt the nurse."""


@pytest.fixture(scope="module")
def story(accredited, client, carrier, operator, hospital):
    """A life: guardians, what they grant, broken glass, a batch and a bundle, a recovery stopped and one completed."""

    def carry(signed):
        client.carry(signed, carrier)

    def grant_for(author):
        carry(client.grant_for(author, PATIENT.address, hospital.address, SALT, TERMS)[0])

    with isolated():
        words = role("emergency"), category("Observation"), 0, FOREVER, 2
        accredited.accredit(AMBULANCE.address, *words, {"from": operator})
        until = now() + 100 * DAY
        for who, rights in ((MOTHER, ["grant", "appoint", "recover"]), (FATHER, ["recover"])):
            carry(client.appoint(PATIENT, PATIENT.address, who.address, rights, until))
        carry(client.appoint(MOTHER, PATIENT.address, AUNT.address, ["grant", "appoint"], until - DAY))
        carry(client.appoint(AUNT, PATIENT.address, NURSE.address, ["grant"], until - 2 * DAY))
        grant_for(NURSE)
        carry(client.revoke_for(NURSE, PATIENT.address, NURSE.address, blind(hospital.address, SALT)))
        carry(client.dismiss(AUNT, PATIENT.address, NURSE.address))
        carry(client.break_glass(AMBULANCE, PATIENT.address, "BTG", now() + DAY // 2))
        carry(client.set_emergency(PATIENT, False))
        bundle, _ = client.bundle(PATIENT, [(hospital.address, bytes([number]) * 32, TERMS) for number in (1, 2)])
        carry(bundle)
        items = [client.grant(each, hospital.address, SALT, TERMS)[0] for each in (PATIENT, OTHER)]
        client.carry_batch([*items, items[0]], carrier)  # the last one is skipped
        carry(client.set_recovery(PATIENT, 2, 2 * DAY))
        for stopped in (True, False):
            approvals = [client.recover(each, PATIENT.address, SUCCESSOR.address) for each in (MOTHER, FATHER)]
            client.carry_recovery(approvals, carrier)
            pass_time(2 * DAY)
            if stopped:
                carry(client.stop_recovery(PATIENT))
        client.complete_recovery(PATIENT.address, carrier)
        carry(client.appoint(SUCCESSOR, PATIENT.address, MOTHER.address, ["grant"], until))
        grant_for(SUCCESSOR)
        carry(client.set_emergency(SUCCESSOR, True, patient=PATIENT.address))
        yield


@pytest.fixture(scope="module")
def rows(story, w3, deployments):
    """The story's rows."""
    return list(Reader(w3, deployments).rows())


class Remembered(ChainState):
    """The chain at the story's end, each question asked once: the story does not go on while rows are altered."""

    call = cache(ChainState.call)


@pytest.fixture(scope="module")
def replay(rows, w3, deployments):
    """Replay rows under the records' rules and compare with the chain: `replay(rows)` returns the report."""
    state = Remembered(w3, deployments, w3.eth.block_number)
    return lambda told: verify(told, [RecordRules()], state)


def broken(report):
    return [finding.rule for finding in report.findings]


def place(rows, event, number):
    return [i for i, row in enumerate(rows) if row.event == event][number]


def altered(rows, event, number, **values):
    """The rows with one that says something else; a value may be a function of the honest row."""
    index = place(rows, event, number)
    row = rows[index]
    values = {name: value(row) if callable(value) else value for name, value in values.items()}
    return [*rows[:index], replace(row, arguments={**row.arguments, **values}), *rows[index + 1 :]]


def without(rows, event, number):
    index = place(rows, event, number)
    return [*rows[:index], *rows[index + 1 :]]


def test_an_honest_life_is_clean(rows, replay):
    report = replay(rows)
    assert report.findings == []
    expected = {
        "guardians appointed": 5,
        "guardians dismissed": 1,
        "grants made and changed": 4,
        "grants made and changed in a patient's stead": 2,
        "grants revoked": 1,
        "items of batches skipped": 1,
        "recoveries set": 1,
        "recoveries begun": 2,
        "recoveries stopped": 1,
        "recoveries completed": 1,
        "emergencies": 1,
        "words on emergencies": 2,
        "guardians": 4,
    }
    assert {name: report.checked[name] for name in expected} == expected


def test_a_dropped_row_is_found(rows, replay):
    # all but the only ones about their key, and an item that was not carried out: nothing else tells of them
    only = [row for row in rows if row.event in ("Granted", "Skipped", "GlassBroken")]
    only += [row for row in rows if row.event == "GrantedFor" and row.arguments["author"] == SUCCESSOR.address]
    for row in rows:
        if row.contract != "RecordAccess" or row in only:
            continue
        assert replay([other for other in rows if other != row]).findings, row


def ahead(row):
    return row.timestamp


ANEW = "a live guardian is appointed anew by its appointer or the actor only"
STEAD = "in a patient's stead grant its successor and its guardians with the right"
END = "the actor, the appointer and the guardian itself end a guardianship"
VERSION = "names the version after its last"
LIES = [
    # guardians
    ("GuardianAppointed", 0, {"version": 2}, f"each message about a guardian {VERSION}"),
    ("GuardianAppointed", 0, {"guardian": PATIENT.address}, "a guardian is another than the patient and its actor"),
    ("GuardianAppointed", 0, {"guardian": NOBODY}, "a guardian is another than the patient and its actor"),
    ("GuardianAppointed", 4, {"guardian": SUCCESSOR.address}, "a guardian is another than the patient and its actor"),
    ("GuardianAppointed", 0, {"rights": 0}, "a guardian has a right, and only known ones"),
    ("GuardianAppointed", 0, {"rights": 16}, "a guardian has a right, and only known ones"),
    ("GuardianAppointed", 1, {"rights": 15}, "it is as said last"),
    ("GuardianAppointed", 0, {"until": ahead}, "a guardian's time lies ahead"),
    ("GuardianAppointed", 0, {"serial": 7}, "an appointment stands under its appointer's serial"),
    ("GuardianAppointed", 0, {"under": 7}, "an appointment stands under its appointer's serial"),
    ("GuardianAppointed", 2, {"appointer": STRANGER}, "the actor appoints, and live guardians with the right"),
    ("GuardianAppointed", 2, {"appointer": FATHER.address}, "the actor appoints, and live guardians with the right"),
    ("GuardianAppointed", 4, {"appointer": PATIENT.address}, "the actor appoints, and live guardians with the right"),
    ("GuardianAppointed", 2, {"rights": 7}, "only the actor gives the right to recover"),
    ("GuardianAppointed", 2, {"rights": 8}, "a guardian gives no right that it lacks"),
    ("GuardianAppointed", 3, {"until": FOREVER}, "a guardian gives no time beyond its own"),
    ("GuardianAppointed", 3, {"guardian": FATHER.address}, ANEW),
    ("GuardianDismissed", 0, {"version": 1}, f"each message about a guardian {VERSION}"),
    ("GuardianDismissed", 0, {"by": STRANGER}, END),
    ("GuardianDismissed", 0, {"by": MOTHER.address}, END),
    # grants in a patient's stead
    ("GrantedFor", 0, {"author": FATHER.address}, STEAD),
    ("GrantedFor", 0, {"author": PATIENT.address}, STEAD),
    ("GrantedFor", 1, {"author": NURSE.address}, STEAD),
    ("GrantedFor", 0, {"slot": b"\1" * 22 + bytes(9) + b"\1"}, "a grant in a patient's stead is of its author's epoch"),
    ("GrantedFor", 1, {"slot": lambda row: b"\1" * 22 + row.arguments["slot"][22:]}, "it is as its last message says"),
    ("RevokedFor", 0, {"version": 1}, f"each message about a grant {VERSION}"),
    ("Skipped", 0, {"reason": b"\1\2\3\4"}, "an item of a batch is skipped for a reason that there is"),
    # recovery
    ("RecoverySet", 0, {"version": 2}, f"each message about a recovery {VERSION}"),
    ("RecoverySet", 0, {"delay": DAY - 1}, "a recovery takes a day at least"),
    ("RecoverySet", 0, {"threshold": 3}, "as many guardians as the patient asked for begin a recovery"),
    ("RecoverySet", 0, {"threshold": 0}, "as many guardians as the patient asked for begin a recovery"),
    ("RecoveryStarted", 0, {"version": 7}, f"each message about a recovery {VERSION}"),
    ("RecoveryStarted", 0, {"successor": PATIENT.address}, "a successor is another than the patient and its actor"),
    ("RecoveryStarted", 0, {"readyAt": ahead}, "a recovery is ready after its delay"),
    ("RecoveryStarted", 1, {"readyAt": FOREVER}, "a recovery is completed after its delay"),
    ("RecoveryStopped", 0, {"version": 9}, f"each message about a recovery {VERSION}"),
    ("Recovered", 0, {"successor": STRANGER}, "a recovery is completed that is on its way"),
    ("Recovered", 0, {"epoch": 0}, "a revoke-all or a recovery begins another epoch"),
    ("Recovered", 0, {"epoch": 7}, "the epoch is the last one begun"),
    # emergencies
    ("EmergencySet", 0, {"version": 7}, f"each message about emergencies {VERSION}"),
    ("EmergencySet", 1, {"allowed": False}, "its word on emergencies is the last one"),
    ("GlassBroken", 0, {"organisation": STRANGER}, "emergency services in good standing break the glass"),
    ("GlassBroken", 0, {"reason": 1}, "the glass is broken for one known reason"),
    ("GlassBroken", 0, {"reason": 1 << 1 | 1 << 9}, "the glass is broken for one known reason"),
    ("GlassBroken", 0, {"until": ahead}, "broken glass is mended within a day"),
    ("GlassBroken", 0, {"until": lambda row: row.timestamp + DAY + 1}, "broken glass is mended within a day"),
    ("GlassBroken", 0, {"until": lambda row: row.timestamp + 1}, "it is as told last"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "number", "values", "rule"), LIES)
def test_a_tampered_row_is_found(rows, replay, event, number, values, rule):
    assert rule in broken(replay(altered(rows, event, number, **values)))


def test_a_recovery_completed_after_it_was_stopped_is_found(rows, replay):
    assert "a recovery is completed that is on its way" in broken(replay(without(rows, "RecoveryStarted", 1)))


def test_a_recovery_by_fewer_than_the_patient_asked_for_is_found(rows, replay):
    rule = "as many guardians as the patient asked for begin a recovery"
    assert rule in broken(replay(without(rows, "GuardianAppointed", 1)))


def test_glass_broken_for_a_patient_who_refused_it_is_found(rows, replay):
    index = place(rows, "EmergencySet", 0)
    forged = replace(
        rows[place(rows, "GlassBroken", 0)],
        block=rows[index].block,
        timestamp=rows[index].timestamp,
        log_index=rows[index].log_index + 1,
        arguments={**rows[place(rows, "GlassBroken", 0)].arguments, "id": b"\1" * 32},
    )
    found = broken(replay([*rows[: index + 1], forged, *rows[index + 1 :]]))
    assert "the glass is not broken for a patient who refused it" in found


def test_glass_broken_oftener_than_the_quota_is_found(rows, replay):
    index = place(rows, "GlassBroken", 0)
    honest = rows[index]
    more = [
        replace(honest, log_index=honest.log_index + i, arguments={**honest.arguments, "id": bytes([i]) * 32})
        for i in (1, 2)
    ]
    rule = "the glass is broken within the organisation's quota of the day"
    assert rule not in broken(replay([*rows[: index + 1], more[0], *rows[index + 1 :]]))
    assert rule in broken(replay([*rows[: index + 1], *more, *rows[index + 1 :]]))


def test_glass_broken_by_a_service_that_is_suspended_is_found(rows, replay):
    index = place(rows, "GlassBroken", 0)
    suspended = replace(
        rows[index],
        contract="CareRegistry",
        event="Suspended",
        log_index=rows[index].log_index,
        arguments={"organisation": AMBULANCE.address},
    )
    late = replace(rows[index], log_index=rows[index].log_index + 1)
    found = broken(replay([*rows[:index], suspended, late, *rows[index + 1 :]]))
    assert "emergency services in good standing break the glass" in found


def test_a_fifth_guardian_in_a_chain_is_found(rows, replay):
    """The nurse had appointed one, that one another: one too many below the patient."""
    index = place(rows, "GuardianAppointed", 3)
    nurse = replace(rows[index], arguments={**rows[index].arguments, "rights": 3})
    chain, above = [nurse], nurse.arguments
    for number in (1, 2):
        words = {
            "id": bytes([number]) * 32,
            "guardian": person(20 + number).address,
            "appointer": above["guardian"],
            "serial": number,
            "under": above["serial"],
            "version": 1,
        }
        above = {**above, **words}
        chain.append(replace(nurse, log_index=nurse.log_index + number, arguments=above))
    rule = "at most 4 guardians stand in a chain"
    found = replay([*rows[:index], *chain[:2], *rows[index + 1 :]])
    assert rule not in broken(found)
    found = replay([*rows[:index], *chain, *rows[index + 1 :]])
    assert rule in broken(found)


def test_an_appointment_with_the_serial_of_an_earlier_one_is_found(rows, replay):
    serial = rows[place(rows, "GuardianAppointed", 0)].arguments["serial"]
    lie = altered(rows, "GuardianAppointed", 1, serial=serial)
    assert "each appointment has a serial of its own" in broken(replay(lie))


def test_a_guardian_appointed_by_one_below_it_is_found(rows, replay):
    """The aunt, whom the mother appointed, appoints the mother: a circle that would hold itself up."""
    index = place(rows, "GuardianAppointed", 2)
    aunt = rows[index].arguments
    words = {
        "id": b"\1" * 32,
        "guardian": MOTHER.address,
        "appointer": AUNT.address,
        "serial": aunt["under"],
        "under": aunt["serial"],
        "version": 2,
    }
    circle = replace(rows[index], log_index=rows[index].log_index + 1, arguments={**aunt, **words})
    found = broken(replay([*rows[: index + 1], circle, *rows[index + 1 :]]))
    assert ANEW in found
    assert "each appointment has a serial of its own" in found


def test_a_message_that_landed_twice_is_found(rows, replay):
    rule = "a signed message lands once"
    first = rows[place(rows, "GuardianAppointed", 0)].arguments["id"]
    for event in ("GuardianAppointed", "GuardianDismissed", "RecoverySet", "GlassBroken", "EmergencySet", "Granted"):
        assert rule in broken(replay(altered(rows, event, -1, id=first))), event


def test_only_a_bundle_is_told_of_several_times(rows, replay):
    """The two grants of the bundle have one id; those of a batch have their own, and are of two patients."""
    numbers = [i for i, row in enumerate(row for row in rows if row.event == "Granted")]
    ids = [row.arguments["id"] for row in rows if row.event == "Granted"]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(numbers) - 1
    assert "a signed message lands once" in broken(replay(altered(rows, "Granted", 3, id=ids[2])))


def test_a_read_is_judged_by_what_stood_at_its_block(rows, client, hospital, deployments):
    rules = RecordRules()
    for row in rows:
        assert list(rules.apply(row)) == [], row
    granted, ended = (rows[place(rows, event, 0)] for event in ("GrantedFor", "RevokedFor"))
    words = PATIENT.address, NURSE.address, hospital.address, SALT, TERMS, category("Observation"), 1
    found = [
        rules.at(block).why_not(*words, granted.timestamp)
        for block in (granted.block - 1, granted.block, ended.block, ended.block + 1)
    ]
    assert found == [Refusal.NO_GRANT, Refusal.NOTHING, Refusal.REVOKED, Refusal.NOT_AUTHOR]
