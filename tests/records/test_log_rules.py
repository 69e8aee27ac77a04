"""The rules of the access log: an honest one is clean; an entry that breaks one rule is found by that rule alone."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from liggare.records.audit import entry, index_entry
from liggare.records.log import AccessLog
from liggare.records.log_rules import LAG
from liggare.records.messages import Terms
from liggare.records.poster import Poster
from liggare.records.rules import RecordRules
from liggare.records.signin import Door
from liggare.records.tree import Tree, canonical, leaf_hash
from tests.records.conftest import EVER
from tests.records.releases import SECRET, SERVER, signed
from tests.support import isolated, now, pass_time


@pytest.fixture(scope="module")
def story(tmp_path_factory, accredited, client, desk, give, anna, bo, institute, insurer, hospital, hospital_sender):
    """Reads by grant and by the patient, under two heads, and after them; a grant changed and one revoked meanwhile."""
    folder = tmp_path_factory.mktemp("log-rules")
    terms = Terms.of(["Observation", "Condition"], ["HRESCH", "TREAT"], 0, EVER)
    with isolated(), AccessLog(f"sqlite:///{folder}/log.db", hospital.address, client.domain, SECRET) as log:
        poster = Poster(log, client, hospital_sender)
        share = give(anna, institute, terms)
        claims = give(anna, insurer, Terms.of(["Claim"], ["HPAYMT"], 0, EVER))
        log.append([desk.release(institute, anna.address, "Observation/1", shares=(share,))])
        log.append([desk.release(insurer, anna.address, "Claim/1", shares=(claims,), purpose="HPAYMT")])
        log.append([desk.release(anna, anna.address, "Patient/a", "Claim/1", purpose="PATRQT")])
        poster.post()
        both = give(bo, institute, terms), give(bo, institute, Terms.of(["Goal"], ["TREAT"], 0, EVER), b"\x09" * 32)
        everything = {"query": "Patient/b/$everything", "interaction": "everything", "purpose": "TREAT"}
        # the institute's cap has no Goal: what it was granted beyond that is not released
        log.append([desk.release(institute, bo.address, "Condition/1", "Practitioner/2", shares=both, **everything)])
        log.append([desk.release(institute, bo.address, shares=both[:1], query="Observation?code=1")])  # finds nothing
        poster.post()
        yield SimpleNamespace(log=log, lines=list(log.lines()), share=share, claims=claims)


@pytest.fixture
def broken(replay, story, hospital):
    """Return the rules that a release breaks which is added to the log: `broken(release)`; lines may be added too."""

    def broken(*added, lines=None):
        lines = list(story.lines if lines is None else lines)
        for release in added:
            lines.append(release if isinstance(release, bytes) else following(lines, release))
        return [finding.rule for finding in replay(logs={hospital.address: lines}).findings]

    return broken


def following(lines, release, **changes):
    """The entry of a release after these lines, in its place among its patient's."""
    kept = [line for line in lines if release.patient.encode() in line and b'"kind":"release"' in line]
    previous = leaf_hash(kept[-1]) if kept else bytes(32)
    return canonical({**entry(release, len(kept) + 1, previous), **changes})


@pytest.fixture
def ask(desk, institute, anna, story):
    """Make one more release of Anna's Observation to the institute; words change it, or its sign-in."""

    def ask(*records, reader=institute, patient=anna, shares=(story.share,), **words):
        return desk.release(reader, patient.address, *(records or ("Observation/2",)), shares=shares, **words)

    return ask


def test_an_honest_log_is_clean(replay, story, hospital):
    report = replay(logs={hospital.address: story.lines})
    assert report.findings == []
    assert report.checked["reads in access logs"] == 5
    assert report.checked["indexes of access logs"] == 2
    assert report.checked["log roots"] == 2


def test_so_is_one_with_entries_after_its_head(broken, ask):
    assert broken(ask(), ask("Condition/1", "Observation/3")) == []


def test_an_empty_log_of_who_posted_nothing_is_clean(replay, insurer):
    assert replay(logs={insurer.address: []}).findings == []


# ------------------------------------------------------------------ what was signed


def test_a_release_that_nobody_signed_for(broken, ask, mallory):
    rule = "an entry holds a sign-in, signed by its reader"
    good = ask()
    for signature in (signed(mallory, good.message), bytes(65), b""):
        assert broken(replace(good, signature=signature)) == [rule]
    assert broken(replace(good, message=good.message.replace("TREAT", "HRESCH") + " ")) == [rule]
    assert broken(replace(good, message="sesame")) == [rule]


def test_a_release_to_another_than_who_signed(broken, ask, insurer, institute, story):
    words = {"reader": insurer, "shares": (story.claims,), "purpose": "HPAYMT"}
    assert broken(ask("Claim/1", **words, signin={"reader": institute})) == ["a release is to who signed in"]


@pytest.mark.parametrize(
    ("door", "rule"),
    [
        ({"custodian": True}, "a sign-in is for the custodian who serves it"),
        ({"url": "https://other.example"}, "a sign-in is for the address where it is served"),
        ({"chain_id": 1}, "a sign-in is for this chain"),
    ],
)
def test_a_sign_in_for_another_door(broken, ask, desk, insurer, door, rule):
    changed = {name: insurer.address if value is True else value for name, value in door.items()}
    elsewhere = Door(**{**vars(desk.door), **changed})
    assert broken(ask(signin={"door": elsewhere})) == [rule]


def test_a_release_for_another_purpose_than_signed(broken, ask):
    assert broken(ask(signin={"purpose": "TREAT"})) == ["a release is for the purpose signed"]


def test_a_sign_in_for_too_long(broken, ask):
    assert broken(ask(signin={"lasts": 901})) == ["a sign-in is short-lived"]


@pytest.mark.parametrize("shift", [-700, 100])
def test_a_release_outside_the_lifetime_of_its_sign_in(broken, ask, shift):
    rule = "a release is within the lifetime of its sign-in"
    assert broken(ask(signin={"time": now() + shift})) == [rule]


def test_a_release_on_what_its_sign_in_does_not_name(broken, ask, story, anna, bo, institute):
    rule = "a release stands on what its sign-in names"
    assert broken(ask(signin={"shares": (story.claims,)})) == [rule]
    assert broken(ask(signin={"shares": (), "patient": anna.address})) == [rule]
    own = {"reader": anna, "shares": (), "purpose": "PATRQT"}
    assert broken(ask("Patient/a", **own, signin={"patient": bo.address})) == [rule]


def test_a_share_for_another_contract(broken, ask, story, bo):
    share = replace(story.share, contract=bo.address)
    assert broken(ask(shares=(share,))) == ["a share is for this chain and contract"]


def test_a_release_beyond_the_scopes_signed(broken, ask):
    rule = "a release is within the scopes signed"
    assert broken(ask(signin={"scopes": ["patient/Condition.rs"]})) == [rule]
    assert broken(ask(signin={"scopes": ["patient/Observation.c"]})) == [rule]
    assert broken(ask(signin={"scopes": ["patient/Observation.r"]})) == []


# ------------------------------------------------------------------ block and time


def test_a_block_that_is_not_of_this_chain(broken, ask):
    rule = "an entry names a block of this chain"
    assert broken(ask(block_hash="0x" + "11" * 32)) == [rule]
    assert broken(ask(block=10**6)) == [rule]


def test_a_release_before_its_block(broken, ask):
    rule = "a release is at its block's time or after"
    assert broken(ask(time=now() - 5)) == [rule]


def test_a_release_that_was_decided_at_an_old_block(broken, ask, story, desk):
    """The way to go on reading after a revoke: name the block before it."""
    good = ask()
    pass_time(LAG + 30)
    pass_time(LAG + 30)
    late = ask()
    old = replace(late, block=good.block, block_hash=good.block_hash)
    assert broken(late) == []
    assert broken(old) == ["a release is decided at the newest block"]


# ------------------------------------------------------------------ what the ledger let


def test_a_read_that_no_grant_covers(broken, ask, story, client, carrier, anna, institute):
    rule = "every read is covered by a grant at its block"
    assert broken(ask("Claim/1")) == [rule]
    assert broken(ask("Observation/1", "Claim/1", "Goal/1")) == [rule, rule]
    assert broken(ask(purpose="PUBHLTH")) == [rule]
    wider = replace(story.share, terms=Terms.of(["Observation", "Claim"], ["HRESCH"], 0, EVER))
    assert broken(ask(shares=(wider,))) == [rule]
    before = ask()
    client.carry(client.revoke(anna, institute.address, story.share.salt), carrier)
    assert broken(before) == []  # it was covered at its block
    assert broken(ask()) == [rule]
    assert broken(ask(query="Goal?code=1", interaction="search", records=())) == [rule]


def test_a_search_in_vain_needs_a_grant_too(broken, ask, story, client, carrier, anna, institute):
    rule = "every read is covered by a grant at its block"

    def in_vain(query):
        return ask(records=(), query=query)

    assert broken(in_vain("Observation?code=1")) == []
    assert broken(in_vain("Practitioner?name=x")) == []
    assert broken(in_vain("Claim?status=active")) == [rule]
    client.carry(client.revoke(anna, institute.address, story.share.salt), carrier)
    assert broken(in_vain("Practitioner?name=x")) == [rule]


def test_what_is_of_no_patient_goes_along_with_any_type_that_may_be_read(broken, ask, give, anna, institute):
    """The first type granted is beyond the institute's cap, the second is not."""
    share = give(anna, institute, Terms.of(["Patient", "Observation"], ["HRESCH"], 0, EVER), b"\x08" * 32)
    assert broken(ask("Practitioner/2", shares=(share,))) == []
    share = give(anna, institute, Terms.of(["Patient"], ["HRESCH"], 0, EVER), b"\x08" * 32)
    assert broken(ask("Practitioner/2", shares=(share,))) == ["every read is covered by a grant at its block"]


def test_a_read_by_a_suspended_organisation(broken, ask, accredited, operator, institute):
    accredited.suspend(institute.address, {"from": operator})
    assert broken(ask()) == ["every read is covered by a grant at its block"]


def test_a_grant_that_ended_by_the_clock_though_no_block_came(broken, ask, give, anna, institute):
    share = give(anna, institute, Terms.of(["Observation"], ["HRESCH"], 0, now() + 100), b"\x08" * 32)
    good = ask(shares=(share,))
    assert broken(good) == []
    assert broken(replace(good, time=good.time + 100)) == ["every read is covered by a grant at its block"]


def test_who_reads_as_a_patient_and_is_none(broken, ask, mallory):
    rule = "who reads as the patient is it, or a guardian who may"
    assert broken(ask("Patient/a", reader=mallory, shares=(), purpose="PATRQT")) == [rule]


def test_a_glass_that_nobody_broke(broken, ask):
    rule = "every read is covered by a broken glass at its block"
    assert broken(ask(shares=(), emergency=True, purpose="BTG")) == [rule]


def test_a_glass_that_was_broken_covers_its_reason_and_its_time(
    broken, ask, on_call, carry, break_glass, ambulance, anna, set_emergency
):
    rule = "every read is covered by a broken glass at its block"
    words = {"reader": ambulance, "shares": (), "emergency": True, "purpose": "ETREAT"}
    carry(break_glass(until=now() + 600).sign(ambulance))
    good = ask(**words)
    assert broken(good) == []
    assert broken(ask("Claim/1", **words)) == [rule]  # beyond its cap
    assert broken(ask("Practitioner/2", **words)) == []  # of no patient
    assert broken(ask(**{**words, "purpose": "BTG"})) == [rule]
    assert broken(replace(good, time=good.time + 580)) == []
    carry(set_emergency().sign(anna))
    assert broken(ask(**words)) == [rule]
    pass_time(600)
    assert broken(ask(**words)) == [rule]


def test_a_guardian_reads_as_the_patient_while_it_may(broken, ask, carry, appoint, dismiss, anna, vera, olle):
    rule = "who reads as the patient is it, or a guardian who may"
    words = {"reader": vera, "shares": (), "purpose": "FAMRQT"}
    assert broken(ask(**words)) == [rule]
    carry(appoint(rights=8).sign(anna))
    good = ask(**words)
    assert broken(good) == []
    assert broken(ask(**{**words, "purpose": "PATRQT"})) == [rule]  # it is not the patient
    carry(appoint(guardian=olle.address, rights=7).sign(anna))
    assert broken(ask(**{**words, "reader": olle})) == [rule]
    carry(dismiss(version=2).sign(anna))
    assert broken(ask(**words)) == [rule]
    assert broken(good) == []


def test_what_a_guardian_granted_is_covered_while_it_is_one(
    broken, ask, client, carry, carrier, appoint, dismiss, anna, vera, institute
):
    rule = "every read is covered by a grant at its block"
    carry(appoint(rights=1).sign(anna))
    terms = Terms.of(["Observation"], ["HRESCH"], 0, EVER)
    signed_grant, share = client.grant_for(vera, anna.address, institute.address, b"\x07" * 32, terms)
    client.carry(signed_grant, carrier)
    assert broken(ask(shares=(share,))) == []
    assert broken(ask(shares=(replace(share, by=None),))) == [rule]
    carry(dismiss(version=2).sign(anna))
    assert broken(ask(shares=(share,))) == [rule]


def test_after_a_recovery_the_successor_is_the_patient(broken, ask, recovered, anna, nils):
    rule = "who reads as the patient is it, or a guardian who may"
    words = {"shares": (), "purpose": "PATRQT"}
    assert broken(ask(reader=nils, **words)) == []
    assert broken(ask(reader=anna, **words)) == [rule]
    assert broken(ask()) == ["every read is covered by a grant at its block"]  # what the old key granted is dead


# ------------------------------------------------------------------ the log itself


def test_an_entry_out_of_its_number_or_after_another(broken, ask, story):
    good = ask()
    wrong = following(story.lines, good, serial=9)
    assert broken(wrong) == ["a patient's entries are numbered from 1 on"]
    wrong = following(story.lines, good, previous="0x" + "11" * 32)
    assert broken(wrong) == ["an entry names the patient's one before it"]


def test_an_entry_of_another_custodian(broken, ask, desk, insurer):
    elsewhere = Door(SERVER, desk.domain.chain_id, insurer.address)
    assert broken(ask(custodian=insurer.address, signin={"door": elsewhere})) == ["a custodian logs its own releases"]


def test_an_index_that_counts_otherwise(broken):
    assert broken(canonical(index_entry(b"\x11" * 32))) == ["an index counts all entries before it"]


@pytest.mark.parametrize("line", [b"what", b"[]", b"{}", b'{"kind":"release"}', b'{"kind":"else"}', b"\xff"])
def test_a_line_that_is_no_entry(broken, line):
    assert broken(line) == ["an entry is a release or an index, as they are written"]


def test_an_entry_that_is_written_otherwise(broken, ask, story):
    line = json.dumps(json.loads(following(story.lines, ask()))).encode()
    assert broken(line) == ["an entry is a release or an index, as they are written"]


def test_a_head_that_does_not_end_with_the_index(broken, ask, story, client, hospital_sender):
    lines = [*story.lines, following(story.lines, ask())]
    client.post_log_head(hospital_sender, len(lines), Tree(lines).root())
    (rule,) = broken(lines=lines)
    assert rule.startswith("the last entry under the head posted in block")


def test_an_entry_left_out_rewritten_or_swapped_is_found_by_the_posted_roots(broken, story):
    lines = story.lines
    for number in range(len(lines)):
        found = broken(lines=[*lines[:number], *lines[number + 1 :]])
        assert "the access log has every entry that its posted heads count" in found
        assert any("first 4 entries have the root posted" in rule for rule in found) == (number < 4)
    swapped = [lines[1], lines[0], *lines[2:]]
    assert any("first 4 entries have the root posted" in rule for rule in broken(lines=swapped))
    rewritten = [lines[0].replace(b"Observation/1", b"Observation/9"), *lines[1:]]
    found = broken(lines=rewritten)
    assert any("first 4 entries have the root posted" in rule for rule in found)
    assert "an entry names the patient's one before it" in found


def test_a_log_cannot_be_checked_without_the_chain(story, hospital):
    with pytest.raises(ValueError, match="with the chain's blocks"):
        list(RecordRules().check_log(hospital.address, story.lines))


def test_a_finding_tells_of_no_record(replay, ask, story, hospital):
    release = ask("Claim/secret-1", signin={"scopes": ["patient/Condition.rs"]})
    lines = [*story.lines, following(story.lines, release)]
    findings = replay(logs={hospital.address: lines}).findings
    assert len(findings) == 2
    for finding in findings:
        assert "secret" not in str(finding)
        assert "Claim" not in str(finding)
