"""`setRecovery`, `recover`, `stopRecovery`, `completeRecovery`: guardians put a new key in a lost one's place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess

from liggare.errors import ContractRefused, UsageError
from liggare.messages import Signed
from liggare.records.client import Refusal
from liggare.records.messages import RevokeAll
from tests.records.conftest import DAY, GRANT, NOBODY, READ, RECOVER, category, organisation, purpose, refused_late
from tests.support import FOREVER, now, pass_time, refused


@pytest.fixture
def complete(access, operator, anna):
    """Complete Anna's recovery."""
    return lambda: access.completeRecovery(anna.address, {"from": operator})


@pytest.fixture
def state(access, anna):
    """Threshold, delay, readyAt, version, successor of Anna's recovery."""
    return lambda: access.recoveries(anna.address)


def ascending(*people):
    return sorted(people, key=lambda person: int(person.address, 16))


def approvals(message, *people):
    return [(person.address, message.sign(person).signature) for person in people]


class refused_early:
    """Expect RecordsRecoveryNotReady with this patient's own time."""

    def __init__(self, access, patient):
        self.ready = access.recoveries(patient.address)[2]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert error is not None, "it was completed"
        name, _, words = error.revert_msg.partition(": ")
        ready, timestamp = (int(word) for word in words.split(", "))
        assert (name, ready) == ("RecordsRecoveryNotReady", self.ready)
        assert timestamp < ready
        return True


# ------------------------------------------------------------------ set


def test_a_patient_sets_how_its_key_is_recovered(carry, set_recovery, anna, state):
    assert state() == (0, 0, 0, 0, NOBODY)
    signed = set_recovery().sign(anna)
    event = carry(signed).events["RecoverySet"]
    assert (event["id"], event["threshold"], event["delay"]) == (signed.id.to_0x_hex(), 2, DAY)
    assert state() == (2, DAY, 0, 1, NOBODY)


def test_nobody_else_sets_it(guarded, carry, set_recovery, anna, vera, mallory):
    for stranger in (vera, mallory):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(set_recovery(version=2, threshold=1).sign(stranger))


def test_a_delay_leaves_time_to_see_it(carry, set_recovery, anna, state):
    with refused(RecordAccess, "RecordsDelayTooShort", DAY - 1, DAY):
        carry(set_recovery(delay=DAY - 1).sign(anna))
    carry(set_recovery(threshold=0, delay=0).sign(anna))
    assert state()[0] == 0


def test_setting_it_works_once_in_turn_in_time_and_here(carry, set_recovery, domain, anna, state):
    signed = set_recovery().sign(anna)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    with refused_late(3):
        carry(set_recovery(version=2, deadline=3).sign(anna))
    elsewhere = set_recovery(version=2, domain=replace(domain, chain_id=1)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(set_recovery(version=2), elsewhere.signature))
    assert state() == (2, DAY, 0, 1, NOBODY)


def test_setting_it_stops_the_one_on_its_way(guarded, carry, begin, recover, set_recovery, complete, anna, vera, olle):
    begin(recover(), vera, olle)
    carry(set_recovery(version=3, threshold=3).sign(anna))
    pass_time(DAY + 1)
    with refused(RecordAccess, "RecordsNoRecovery", anna.address):
        complete()


# ------------------------------------------------------------------ begin


def test_guardians_begin_a_recovery(guarded, access, begin, recover, anna, nils, vera, olle, state):
    event = begin(recover(), vera, olle).events["RecoveryStarted"]
    assert (event["id"], event["successor"], event["version"]) == (recover().id.to_0x_hex(), nils.address, 2)
    assert event["readyAt"] == now() + DAY
    assert state() == (2, DAY, now() + DAY, 2, nils.address)
    assert access.actorOf(anna.address) == anna.address  # nothing has changed yet


def test_more_than_enough_guardians_may_approve(guarded, begin, recover, vera, olle, ida, nils, state):
    begin(recover(), vera, olle, ida)
    assert state()[4] == nils.address


def test_too_few_guardians_begin_nothing(guarded, begin, recover, vera, state):
    for people in ((), (vera,)):
        with refused(RecordAccess, "RecordsTooFewApprovals", len(people), 2):
            begin(recover(), *people)
    assert state()[4] == NOBODY


def test_without_a_threshold_nobody_begins(carry, appoint, begin, recover, anna, vera):
    carry(appoint().sign(anna))
    with refused(RecordAccess, "RecordsTooFewApprovals", 1, 0):
        begin(recover(version=1), vera)
    with refused(RecordAccess, "RecordsTooFewApprovals", 0, 0):
        begin(recover(version=1))


def test_one_guardian_does_not_count_twice(guarded, begin, recover, vera):
    twice = approvals(recover(), vera, vera)
    with refused(RecordAccess, "RecordsApprovalsNotAscending", vera.address, vera.address):
        begin(recover(), approvals=twice)


def test_guardians_out_of_order_are_refused(guarded, begin, recover, vera, olle):
    low, high = ascending(vera, olle)
    with refused(RecordAccess, "RecordsApprovalsNotAscending", low.address, high.address):
        begin(recover(), approvals=approvals(recover(), high, low))


def test_the_zero_address_approves_nothing(guarded, begin, recover, vera, olle):
    nobody = (NOBODY, bytes(65))
    with refused(RecordAccess, "RecordsApprovalsNotAscending", NOBODY, NOBODY):
        begin(recover(), approvals=[nobody, *approvals(recover(), *ascending(vera, olle))])


def test_a_guardian_that_did_not_sign_is_found_out(guarded, begin, recover, vera, olle, mallory):
    low, high = ascending(vera, olle)
    forged = [*approvals(recover(), low), (high.address, recover().sign(mallory).signature)]
    with refused(RecordAccess, "RecordsInvalidSignature", high.address):
        begin(recover(), approvals=forged)


def test_who_is_no_guardian_with_the_right_does_not_count(guarded, carry, appoint, begin, recover, anna, vera, mallory):
    def try_with(other):
        with refused(RecordAccess, "RecordsMayNotAct", other.address, RECOVER):
            begin(recover(), vera, other)

    reader, below = organisation("reader"), organisation("below")
    carry(appoint(guardian=reader.address, rights=GRANT | READ | 2).sign(anna))
    carry(appoint(appointer=vera.address, guardian=below.address, rights=11).sign(vera))
    for other in (mallory, anna, reader, below):
        if int(other.address, 16) > int(vera.address, 16):
            try_with(other)
        else:
            with refused(RecordAccess, "RecordsMayNotAct", other.address, RECOVER):
                begin(recover(), other, vera)


def test_dismissed_and_expired_guardians_do_not_count(
    guarded, carry, appoint, dismiss, begin, recover, anna, vera, olle, ida
):
    carry(dismiss().sign(anna))
    carry(appoint(guardian=ida.address, version=2, until=now() + 50).sign(anna))
    pass_time(100)
    for gone in (vera, ida):
        with refused(RecordAccess, "RecordsMayNotAct", gone.address, RECOVER):
            begin(recover(), approvals=approvals(recover(), gone, gone))


def test_an_altered_approval_counts_for_nothing(guarded, begin, recover, vera, olle, mallory):
    low, high = ascending(vera, olle)
    signed = approvals(recover(), low, high)
    for change in ({"successor": mallory.address}, {"deadline": FOREVER - 1}):
        with refused(RecordAccess, "RecordsInvalidSignature", low.address):
            begin(replace(recover(), **change), approvals=signed)


def test_approvals_for_another_patient_or_domain_count_for_nothing(guarded, begin, recover, domain, bo, vera, olle):
    low, _ = ascending(vera, olle)
    for message in (recover(patient=bo.address), recover(domain=replace(domain, chain_id=1))):
        with refused(RecordAccess, "RecordsInvalidSignature", low.address):
            begin(recover(), approvals=approvals(message, *ascending(vera, olle)))


def test_a_recovery_begins_once_and_in_turn(guarded, begin, recover, vera, olle):
    begin(recover(), vera, olle)
    for version in (1, 2, 4):
        with refused(RecordAccess, "RecordsWrongVersion", version, 3):
            begin(recover(version=version), vera, olle)


def test_a_late_recovery_is_refused(guarded, begin, recover, vera, olle, state):
    with refused_late(6):
        begin(recover(deadline=6), vera, olle)
    assert state()[4] == NOBODY


@pytest.mark.parametrize("who", ["nobody", "the patient", "the actor"])
def test_who_cannot_be_the_successor(recovered, carry, appoint, set_recovery, begin, recover, anna, nils, vera, who):
    carry(appoint(appointer=nils.address, version=2).sign(nils))
    carry(set_recovery(version=3, threshold=1).sign(nils))
    successor = {"nobody": NOBODY, "the patient": anna.address, "the actor": nils.address}[who]
    with refused(RecordAccess, "RecordsInvalidSuccessor", successor):
        begin(recover(successor=successor, version=4), vera)


def test_a_wallet_approves(guarded, carry, appoint, begin, recover, anna, vera, olle, operator, nils, state):
    wallet = OwnedWallet.deploy(olle.address, {"from": operator})
    carry(appoint(guardian=wallet.address).sign(anna))
    signed = [(wallet.address, recover().sign(olle).signature), *approvals(recover(), vera)]
    begin(recover(), approvals=sorted(signed, key=lambda approval: int(approval[0], 16)))
    assert state()[4] == nils.address


def test_a_later_recovery_takes_the_place_of_the_one_on_its_way(
    guarded, access, begin, recover, complete, anna, bo, vera, olle, ida
):
    begin(recover(), vera, olle)
    pass_time(DAY // 2)
    begin(recover(version=3, successor=bo.address), olle, ida)
    pass_time(DAY // 2 + 10)
    with refused_early(access, anna):
        complete()
    pass_time(DAY // 2)
    complete()
    assert access.actorOf(anna.address) == bo.address


# ------------------------------------------------------------------ stop


def test_the_old_key_stops_a_recovery(
    guarded, access, carry, begin, recover, stop_recovery, complete, anna, vera, olle
):
    begin(recover(), vera, olle)
    signed = stop_recovery().sign(anna)
    assert carry(signed).events["RecoveryStopped"]["id"] == signed.id.to_0x_hex()
    pass_time(2 * DAY)
    with refused(RecordAccess, "RecordsNoRecovery", anna.address):
        complete()
    with refused(RecordAccess, "RecordsWrongVersion", 2, 4):
        begin(recover(), vera, olle)  # what was approved before is worth nothing
    assert access.actorOf(anna.address) == anna.address


def test_a_stopped_recovery_can_be_begun_anew(
    guarded, carry, begin, recover, stop_recovery, anna, vera, olle, nils, state
):
    begin(recover(), vera, olle)
    carry(stop_recovery().sign(anna))
    begin(recover(version=4), vera, olle)
    assert state()[3:] == (4, nils.address)


def test_a_stop_kills_approvals_that_were_not_sent(guarded, carry, begin, recover, stop_recovery, anna, vera, olle):
    carry(stop_recovery(version=2).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 2, 3):
        begin(recover(), vera, olle)


def test_nobody_else_stops_a_recovery(
    guarded, carry, begin, recover, stop_recovery, anna, nils, vera, olle, mallory, state
):
    begin(recover(), vera, olle)
    for stranger in (mallory, vera, nils):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(stop_recovery().sign(stranger))
    assert state()[4] == nils.address


def test_a_stop_works_once_in_time_and_here(guarded, carry, begin, recover, stop_recovery, domain, anna, vera, olle):
    begin(recover(), vera, olle)
    with refused_late(2):
        carry(stop_recovery(deadline=2).sign(anna))
    elsewhere = stop_recovery(domain=replace(domain, chain_id=1)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(stop_recovery(), elsewhere.signature))
    signed = stop_recovery().sign(anna)
    carry(signed)
    begin(recover(version=4), vera, olle)
    with refused(RecordAccess, "RecordsWrongVersion", 3, 5):
        carry(signed)


# ------------------------------------------------------------------ complete


def test_a_recovery_before_its_delay_is_not_completed(guarded, access, begin, recover, complete, anna, vera, olle):
    begin(recover(), vera, olle)
    with refused_early(access, anna):
        complete()
    pass_time(DAY - 60)
    with refused_early(access, anna):
        complete()
    assert access.actorOf(anna.address) == anna.address
    pass_time(60)
    complete()


def test_after_the_delay_anyone_completes_it(guarded, access, begin, recover, stranger, anna, vera, olle, nils, state):
    begin(recover(), vera, olle)
    pass_time(DAY)
    event = access.completeRecovery(anna.address, {"from": stranger}).events["Recovered"]
    assert (event["patient"], event["successor"]) == (anna.address, nils.address)
    assert event["epoch"] == access.epochs(anna.address) != 0
    assert access.actorOf(anna.address) == nils.address
    assert state() == (0, 0, 0, 2, NOBODY)


def test_a_recovery_is_completed_once(recovered, complete, anna):
    with refused(RecordAccess, "RecordsNoRecovery", anna.address):
        complete()


def test_a_patient_that_nobody_recovers_completes_nothing(complete, anna):
    with refused(RecordAccess, "RecordsNoRecovery", anna.address):
        complete()


def test_what_the_old_key_granted_and_grants_is_dead(accredited, carry, grant, recovered, access, anna, why_not):
    carry(grant().sign(anna))
    carry(grant(version=2, epoch=access.epochs(anna.address)).sign(anna))  # lands, and lets nobody read
    assert why_not() == Refusal.KEY_REPLACED


def test_what_was_granted_before_is_dead(
    accredited, carry, grant, grant_for, guarded, begin, recover, complete, anna, vera, olle, why_not, why_not_by
):
    carry(grant().sign(anna))
    carry(grant_for().sign(vera))
    begin(recover(), vera, olle)
    assert why_not() == why_not_by() == Refusal.NOTHING
    pass_time(DAY)
    complete()
    assert why_not() == Refusal.KEY_REPLACED
    assert why_not_by() == Refusal.NOT_AUTHOR


def test_the_old_key_does_nothing_any_more(
    recovered, access, carry, appoint, dismiss, set_recovery, stop_recovery, set_emergency, domain, anna, nils, vera
):
    epoch = access.epochs(anna.address)
    for message in (
        RevokeAll(domain, anna.address, epoch, FOREVER),
        set_recovery(version=3),
        stop_recovery(),
        set_emergency(),
    ):
        with refused(RecordAccess, "RecordsInvalidSignature", nils.address):
            carry(message.sign(anna))
    with refused(RecordAccess, "RecordsMayNotAct", anna.address, 2):
        carry(appoint(version=2).sign(anna))
    carry(appoint(appointer=nils.address, version=2).sign(nils))
    with refused(RecordAccess, "RecordsMayNotDismiss", anna.address, vera.address):
        carry(dismiss(version=3).sign(anna))
    assert not access.mayAct(anna.address, anna.address, READ)


def test_all_guardians_end(
    recovered, access, carry, appoint, begin, recover, set_recovery, anna, vera, olle, ida, nils
):
    assert not any(access.mayAct(anna.address, who.address, 0) for who in (vera, olle, ida))
    with refused(RecordAccess, "RecordsTooFewApprovals", 2, 0):
        begin(recover(version=3, successor=vera.address), vera, olle)
    carry(set_recovery(version=3).sign(nils))
    low, _ = ascending(vera, olle)
    with refused(RecordAccess, "RecordsMayNotAct", low.address, RECOVER):
        begin(recover(version=4, successor=vera.address), vera, olle)


def test_the_successor_acts_in_every_way(
    accredited,
    recovered,
    access,
    carry,
    grant_for,
    revoke_for,
    appoint,
    set_recovery,
    set_emergency,
    domain,
    anna,
    nils,
    vera,
    why_not_by,
):
    assert access.epochOf(anna.address, nils.address) == access.epochs(anna.address)
    carry(grant_for(author=nils.address).sign(nils))
    assert why_not_by(author=nils.address) == Refusal.NOTHING
    carry(revoke_for(author=nils.address).sign(nils))
    assert why_not_by(author=nils.address) == Refusal.REVOKED
    carry(grant_for(author=nils.address, version=3).sign(nils))
    carry(RevokeAll(domain, anna.address, access.epochs(anna.address), FOREVER).sign(nils))
    assert why_not_by(author=nils.address) == Refusal.ALL_REVOKED
    carry(appoint(appointer=nils.address, version=2).sign(nils))
    carry(grant_for().sign(vera))
    assert why_not_by() == Refusal.NOTHING
    carry(set_recovery(version=3).sign(nils))
    carry(set_emergency().sign(nils))
    assert access.mayAct(anna.address, nils.address, 15)


def test_a_second_recovery_ends_the_first_successor(
    accredited,
    recovered,
    access,
    carry,
    appoint,
    set_recovery,
    begin,
    recover,
    grant_for,
    complete,
    anna,
    bo,
    nils,
    vera,
    why_not_by,
):
    carry(grant_for(author=nils.address).sign(nils))
    carry(appoint(appointer=nils.address, version=2).sign(nils))
    carry(set_recovery(version=3, threshold=1).sign(nils))
    begin(recover(version=4, successor=bo.address), vera)
    pass_time(DAY)
    complete()
    assert access.actorOf(anna.address) == bo.address
    assert why_not_by(author=nils.address) == Refusal.NOT_AUTHOR
    # even as a guardian of the next it stays so
    carry(appoint(appointer=bo.address, guardian=nils.address).sign(bo))
    assert why_not_by(author=nils.address) == Refusal.ALL_REVOKED
    assert not access.mayAct(anna.address, vera.address, 0)


def test_what_was_signed_for_the_old_key_and_not_sent_is_dead(
    guarded, access, carry, appoint, begin, recover, complete, anna, vera, olle, mallory
):
    unsent = appoint(guardian=mallory.address).sign(anna)
    begin(recover(), vera, olle)
    pass_time(DAY)
    complete()
    with refused(RecordAccess, "RecordsMayNotAct", anna.address, 2):
        carry(unsent)


def test_revoke_all_leaves_guardians_able_to_recover(
    guarded, carry, begin, recover, domain, anna, vera, olle, nils, state
):
    carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna))
    begin(recover(), vera, olle)
    assert state()[4] == nils.address


def test_the_client_recovers_a_key(
    client, carrier, accredited, carry, appoint, anna, vera, olle, nils, hospital, terms
):
    for guardian in (vera, olle):
        client.carry(client.appoint(anna, anna.address, guardian.address, ["recover"], FOREVER), carrier)
    client.carry(client.set_recovery(anna, 2, DAY), carrier)
    signed = [client.recover(who, anna.address, nils.address) for who in (vera, olle)]
    client.carry_recovery(signed, carrier)
    assert client.recovery(anna.address).successor == nils.address
    client.carry(client.stop_recovery(anna), carrier)
    assert client.recovery(anna.address).ready_at == 0
    client.carry_recovery([client.recover(who, anna.address, nils.address) for who in (olle, vera)], carrier)
    with pytest.raises(ContractRefused) as caught:
        client.complete_recovery(anna.address, carrier)
    assert caught.value.name == "RecordsRecoveryNotReady"
    pass_time(DAY)
    client.complete_recovery(anna.address, carrier)
    assert client.actor(anna.address) == nils.address
    signed_grant, share = client.grant_for(nils, anna.address, hospital.address, bytes(32), terms)
    client.carry(signed_grant, carrier)
    assert client.may_read(share, category("Observation"), purpose("TREAT"))
    client.carry(client.revoke_all(nils, patient=anna.address), carrier)
    assert not client.may_read(share, category("Observation"), purpose("TREAT"))


def test_the_client_takes_approvals_of_one_message_only(client, carrier, recover, vera, olle):
    for odd in ([], [recover().sign(vera), recover(version=3).sign(olle)]):
        with pytest.raises(UsageError):
            client.carry_recovery(odd, carrier)
