"""A patient asks who read: an honest answer is taken, and each lie of a custodian is found and named."""

from __future__ import annotations

import copy
import json
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from liggare.chain.connection import connect
from liggare.errors import AccessHidden, AccessRewritten, ChainUnreachable, LogForked, LogUnposted, ProofInvalid
from liggare.records.accesses import check_accesses
from liggare.records.audit import entry, opened
from liggare.records.client import Records
from liggare.records.index import Count
from liggare.records.log import AccessLog
from liggare.records.poster import Poster
from liggare.records.tree import Head, canonical, leaf_hash
from tests.records.releases import SECRET, signed
from tests.support import isolated


@pytest.fixture(scope="module")
def story(tmp_path_factory, accredited, client, desk, give, anna, bo, institute, hospital, hospital_sender, terms):
    """Anna's records are read four times and Bo's twice under two posted heads; a fifth of Anna's waits for a head."""
    folder = tmp_path_factory.mktemp("accesses")
    with isolated(), AccessLog(f"sqlite:///{folder}/log.db", hospital.address, client.domain, SECRET) as log:
        poster = Poster(log, client, hospital_sender)
        shares = {who.address: (give(who, institute, terms),) for who in (anna, bo)}

        def read(who, record, **words):
            log.append([desk.release(institute, who.address, record, shares=shares[who.address], **words)])

        read(anna, "Observation/1")
        read(bo, "Observation/b1")
        read(anna, "Observation/2", purpose="TREAT")
        first = poster.post()
        read(anna, "Condition/3")
        read(bo, "Observation/b2")
        log.append([desk.release(anna, anna.address, "Patient/a", "Observation/1", purpose="PATRQT")])
        second = poster.post()
        read(anna, "Observation/5")
        yield SimpleNamespace(log=log, first=first, second=second, poster=poster, read=read, folder=folder)


@pytest.fixture
def answer(story, anna):
    """The hospital's honest answer to Anna, hers to change."""
    return copy.deepcopy(story.log.proof(anna.address, story.first.size))


@pytest.fixture
def check(client, hospital, anna):
    """Check an answer as Anna does."""

    def check(answer, remembered=None, custodian=hospital, patient=anna):
        return check_accesses(answer, client, custodian.address, patient.address, remembered)

    return check


def released(line):
    return opened(json.loads(line)).release


@pytest.fixture
def again(story, tmp_path, hospital, client):
    """The story's log once more in a database of its own: `again(upto=None)` makes it, with its heads noted."""
    with ExitStack() as opened_logs:

        def again(upto=None):
            name = f"sqlite:///{tmp_path}/log.db"
            log = opened_logs.enter_context(AccessLog(name, hospital.address, client.domain, SECRET))
            for line in list(story.log.lines())[:upto]:
                if b'"kind":"release"' in line:
                    log.append([released(line)])
                else:
                    log.note_posted(log.seal())
            return log

        yield again


@pytest.fixture
def cheat(story, again, client, hospital_sender, anna):
    """Post, after the true log, an index that says something else of Anna: `cheat(count)` returns answer and lines.

    `count(true, leaves)` is what the index says, of the true count and the leaf hashes of her entries.
    """
    with isolated():

        def cheat(count):
            log = again()
            shown = log.proof(anna.address)
            kept = [*(one["entry"] for one in shown["entries"]), *shown["later"]]
            lie = count(log._index.get(anna.address), [leaf_hash(canonical(each)) for each in kept])
            log._index = log._index.put(anna.address, lie)
            Poster(log, client, hospital_sender).post()
            return log.proof(anna.address, story.first.size), list(log.lines())

        yield cheat


def test_an_honest_answer_lists_every_access(check, answer, story, anna, institute):
    found = check(answer, story.first)
    assert found.head == story.second
    told = [(one.organisation, one.purpose, one.records, one.on_ledger) for one in found.accesses]
    assert told == [
        (institute.address, "HRESCH", ("Observation/1",), True),
        (institute.address, "TREAT", ("Observation/2",), True),
        (institute.address, "HRESCH", ("Condition/3",), True),
        (anna.address, "PATRQT", ("Patient/a", "Observation/1"), True),
        (institute.address, "HRESCH", ("Observation/5",), False),
    ]
    assert [one.serial for one in found.accesses] == [1, 2, 3, 4, 5]
    assert all(one.time == one.release.time > 0 for one in found.accesses)
    assert check(answer).accesses == found.accesses  # who remembers nothing sees the same


def test_who_was_never_read_of_is_shown_that_it_was_not(check, story, cia):
    assert check(story.log.proof(cia.address), patient=cia).accesses == []


def test_entries_newer_than_the_head_are_listed_as_not_on_the_ledger_yet(check, again, client, hospital_sender, anna):
    log = again()
    answer = log.proof(anna.address)
    assert [one.on_ledger for one in check(answer).accesses] == [True] * 4 + [False]
    with isolated():
        Poster(log, client, hospital_sender).post()
        assert [one.on_ledger for one in check(log.proof(anna.address)).accesses] == [True] * 5


# ------------------------------------------------------------------ left out


@pytest.mark.parametrize("gone", [[1], [3], [0], [0, 1, 2, 3]], ids=["middle", "end", "first", "all"])
def test_an_entry_left_out_is_found(check, answer, gone):
    answer["entries"] = [one for number, one in enumerate(answer["entries"]) if number not in gone]
    with pytest.raises(AccessHidden, match=f"{len(gone)} of 4 accesses are left out"):
        check(answer)


@pytest.mark.parametrize("kept", [3, 1, 0])
def test_an_entry_left_out_of_the_count_too_is_found(check, answer, kept):
    answer["entries"] = answer["entries"][:kept]
    newest = leaf_hash(canonical(answer["entries"][-1]["entry"])) if kept else bytes(32)
    answer["index"] |= {"entries": kept, "newest": "0x" + newest.hex()}
    with pytest.raises(AccessHidden, match=f"does not count {kept} entries"):
        check(answer)


def test_another_index_than_the_posted_one_is_found(check, answer, story, anna):
    index = story.log._indexes[story.second.size].put(anna.address, Count(0, bytes(32)))
    answer["index"]["root"] = "0x" + index.root.hex()
    with pytest.raises(AccessHidden, match="not the one under the posted head"):
        check(answer)


def test_a_shorter_log_is_found(check, story, again, anna):
    answer = again(upto=story.first.size).proof(anna.address)
    assert answer["size"] == story.first.size
    with pytest.raises(AccessHidden, match=f"a log of {story.first.size} entries is shown"):
        check(answer)


def test_one_that_is_not_on_the_ledger_yet_left_out_is_found_by_the_next(check, story, answer):
    later = answer["later"][0]
    (logged,) = [opened(later)]
    after = entry(logged.release, logged.serial + 1, leaf_hash(canonical(later)))
    assert len(check({**answer, "later": [later, after]}).accesses) == 6
    with pytest.raises(AccessHidden, match="access 5, not on the ledger yet, is left out"):
        check({**answer, "later": [after]})
    with pytest.raises(AccessRewritten, match="not in their order"):
        check({**answer, "later": [later, later]})


# ------------------------------------------------------------------ rewritten


def test_an_entry_rewritten_is_found(check, answer):
    answer["entries"][1]["entry"]["event"]["entity"][1]["what"]["reference"] = "Observation/9"
    with pytest.raises(AccessRewritten, match="access 2 is not entry 2 under the posted head"):
        check(answer)


def test_an_entry_that_no_log_holds_is_found(check, answer):
    answer["entries"][1]["entry"]["event"]["outcome"] = "8"
    with pytest.raises(AccessRewritten, match="no log holds"):
        check(answer)


def test_entries_swapped_are_found(check, answer):
    entries = answer["entries"]
    entries[1], entries[2] = entries[2], entries[1]
    with pytest.raises(AccessRewritten, match="not shown in their order"):
        check(answer)


def test_entries_that_swapped_their_places_are_found(check, answer):
    one, other = answer["entries"][1], answer["entries"][2]
    one["entry"], other["entry"] = other["entry"], one["entry"]
    with pytest.raises(AccessRewritten, match="is not entry"):
        check(answer)


def test_an_entry_shown_twice_is_found(check, answer):
    answer["entries"].append(answer["entries"][3])
    with pytest.raises(AccessRewritten, match="each once"):
        check(answer)


def test_another_newest_entry_than_counted_is_found(check, story, cheat):
    answer, _ = cheat(lambda true, leaves: Count(true.entries, b"\x01" * 32))
    with pytest.raises(AccessRewritten, match="not the newest one that the posted index counts"):
        check(answer)


def test_an_index_that_counts_too_few_is_found_by_whoever_replays_the_log(check, replay, story, cheat, hospital):
    """The patient alone can't find it: the last entry is left out of answer and index. The replay names it."""
    answer, lines = cheat(lambda true, leaves: Count(true.entries - 1, leaves[-2]))
    answer["entries"].pop()
    assert len(check(answer, story.first).accesses) == 4
    (finding,) = replay(logs={hospital.address: lines}).findings
    assert finding.rule == "an index counts all entries before it"
    assert f"entry {len(lines) - 1}" in finding.place


def test_an_entry_that_its_reader_did_not_sign_is_found(check, answer, mallory):
    later = answer["later"][0]
    text = later["signIn"]["message"]
    later["signIn"]["signature"] = "0x" + signed(mallory, text).hex()
    with pytest.raises(AccessRewritten, match="access 5: an entry holds a sign-in, signed by its reader"):
        check(answer)


def test_an_entry_that_does_not_follow_the_one_before_is_found(check, answer):
    later = answer["later"][0]
    later["previous"] = "0x" + "11" * 32
    with pytest.raises(AccessRewritten, match="access 5 does not name the one before it"):
        check(answer)


# ------------------------------------------------------------------ another log


def test_a_forked_head_is_found(check, answer):
    answer["root"] = "0x" + "66" * 32
    with pytest.raises(LogForked, match="another head than the one posted"):
        check(answer)
    answer["size"] += 1
    with pytest.raises(LogForked):
        check(answer)


def test_a_log_begun_anew_and_posted_is_found_by_who_remembers(
    check, story, client, hospital, hospital_sender, anna, tmp_path
):
    """The custodian rewrites its log from the first entry on and posts that: the contract can't know."""
    with isolated(), AccessLog(f"sqlite:///{tmp_path}/log.db", hospital.address, client.domain, SECRET) as other:
        lines = [line for line in story.log.lines() if b'"kind":"release"' in line]
        other.append([released(line) for line in lines[1:]])
        other.append([released(line) for line in lines[1:]])
        head = other.seal()
        client.post_log_head(hospital_sender, head.size, head.root)
        other.note_posted(head)
        for remembered in (story.first, story.second):
            answer = other.proof(anna.address, remembered.size)
            with pytest.raises(LogForked, match="does not go on from"):
                check(answer, remembered)
            with pytest.raises(LogForked, match="does not go on from"):
                check({**answer, "consistency": answer["consistency"][::-1]}, remembered)
        poster = Poster(story.log, client, hospital_sender)  # and its own log can't be posted any more
        with pytest.raises(LogForked):
            poster.post()


def test_an_answer_older_than_what_was_seen_is_found(check, answer, story):
    with pytest.raises(LogForked, match="does not go on from"):
        check(answer, Head(story.second.size + 5, story.second.root))
    with pytest.raises(LogForked):
        check(answer, Head(story.first.size, story.second.root))


def test_a_proof_for_another_patients_entry_is_found(check, answer, story, bo):
    """Bo's second entry, with its true proof, in the place of Anna's second."""
    others = story.log.proof(bo.address)
    answer["entries"][1] = others["entries"][1]
    with pytest.raises(ProofInvalid, match="access 2 is another patient's"):
        check(answer)
    with pytest.raises(ProofInvalid, match="is about the patient"):
        check(others)


def test_an_answer_of_another_custodian_or_chain_is_found(check, answer, insurer, bo):
    with pytest.raises(ProofInvalid, match="is about the custodian"):
        check(answer, custodian=insurer)
    for change, told in (({"chainId": 1}, "chain"), ({"contract": bo.address}, "contract")):
        with pytest.raises(ProofInvalid, match=f"is about the {told}"):
            check({**answer, **change})


def test_a_custodian_that_never_posted_is_named(check, story, client, insurer, tmp_path, anna):
    with AccessLog(f"sqlite:///{tmp_path}/log.db", insurer.address, client.domain, SECRET) as log:
        answer = log.proof(anna.address)
    with pytest.raises(LogUnposted):
        check(answer, custodian=insurer)


@pytest.mark.parametrize(
    "change",
    [
        {"liggare": "accesses/2"},
        {"size": True},
        {"size": -1},
        {"root": "0x11"},
        {"root": 5},
        {"index": None},
        {"index": {}},
        {"entries": [{}]},
        {"entries": None},
        {"consistency": ["0xzz"]},
        {"custodian": "0x11"},
        {"patient": None},
    ],
)
def test_what_is_no_answer_is_named(check, answer, change):
    with pytest.raises(ProofInvalid, match="no answer of the form"):
        check({**answer, **change})


@pytest.mark.parametrize("nothing", [None, [], "x", 5, {}])
def test_what_is_nothing_is_named(check, nothing):
    with pytest.raises(ProofInvalid):
        check(nothing)


def test_nothing_is_believed_where_the_chain_does_not_answer(answer, client, deployments, hospital, anna):
    dead = Records(client.w3, deployments)
    dead.contract = connect(client.w3.provider.endpoint_uri).eth.contract(
        address=client.contract.address, abi=client.contract.abi
    )
    dead.contract.w3.provider.endpoint_uri = "http://127.0.0.1:9"
    with pytest.raises(ChainUnreachable):
        check_accesses(answer, dead, hospital.address, anna.address)
