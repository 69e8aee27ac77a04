"""Going on from a checkpoint is as good as from the start; what is no checkpoint of one's own is refused by name."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import asdict, replace

import pytest
from eth_account import Account

from liggare.chain.feed import Block
from liggare.cli.ledger import all_calls, all_rules
from liggare.errors import (
    CheckpointDamaged,
    CheckpointForeign,
    CheckpointOfAnother,
    CheckpointOutdated,
    DataError,
)
from liggare.ledger import checkpoint, kept
from liggare.ledger.kept import Part
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, Report, verify

OWNER = Account.from_key(b"\x77" * 32)


class History:
    """A story's rows, and verification of them: whole, or up to a block and on from there."""

    def __init__(self, w3, deployments):
        self.w3, self.record = w3, deployments
        self.head = w3.eth.block_number
        self.rows = list(Reader(w3, deployments, proven=True).rows(end=self.head))

    def block(self, number):
        """A block as the chain has it."""
        found = self.w3.eth.get_block(number)
        return Block(number, found["hash"].to_0x_hex(), found["parentHash"].to_0x_hex(), found["timestamp"], 0)

    def verified(self, rows, upto, path=None, since=None):
        """Verify rows up to a block; write a checkpoint to `path`; go on from `since`."""
        rules = all_rules(self.w3, self.record)
        with all_calls(self.w3, self.record, rules) as calls:
            known = checkpoint.Known(rules, calls[1], Report())
            after = checkpoint.read(since, OWNER.address, self.record, known).block if since else -1
            some = [row for row in rows if after < row.block <= upto]
            state = ChainState(self.w3, self.record, upto)
            report = verify(some, rules, state, calls, report=known.report, after=after)
            if path:
                assert report.findings == []
                checkpoint.write(path, OWNER, self.record, self.block(upto), known)
            return report, [vars(one) for one in rules]

    def cut(self, event, last=True):
        """The block after which the last event of this name comes, or the first one."""
        blocks = [row.block for row in self.rows if row.event == event]
        return blocks[-1 if last else 0] - 1


@pytest.fixture(scope="module")
def history(w3, deployments, story):
    """A story of all three domains."""
    return History(w3, deployments)


def plain(states):
    """Return what rules know, to compare: without what only access logs need."""
    left_out = ("blocks", "wallets", "_judges", "_blocks", "_ends", "standings", "_due")
    told = [{name: value for name, value in each.items() if name not in left_out} for each in states]
    (records,) = (each["standings"] for each in states if "standings" in each)
    return told, {name: getattr(records, name) for name in type(records).__slots__}


def test_the_report_and_all_that_is_known_are_as_from_the_start(history, tmp_path):
    whole, known = history.verified(history.rows, history.head)
    assert whole.findings == []
    first, draw = history.rows[0].block, random.Random(7)
    cuts = sorted({*draw.sample(range(first, history.head), 8), history.head})
    path, since = tmp_path / "a.checkpoint", None
    for cut in cuts:  # each goes on from the one before it, and the whole from each
        history.verified(history.rows, cut, path, since)
        since = path
        went_on, there = history.verified(history.rows, history.head, since=since)
        assert asdict(went_on) == asdict(whole)
        assert plain(there) == plain(known)


def used_before(rows, cut):
    """A payment after the checkpoint uses a nonce that was used before it."""
    old = next(row for row in rows if row.event == "AuthorizationUsed" and row.block <= cut)
    place = next(n for n, row in enumerate(rows) if row.event == "AuthorizationUsed" and row.block > cut)
    rows[place] = replace(rows[place], arguments=dict(old.arguments))
    return "a nonce works once"


def beyond_its_balance(rows, cut):
    """A payment after the checkpoint is of more than its payer was left with by those before it."""
    place = next(n for n, row in enumerate(rows) if row.event == "Transfer" and row.block > cut)
    rows[place] = replace(rows[place], arguments={**rows[place].arguments, "value": 2**200})
    return "nobody pays more than they have"


def another_price(rows, cut):
    """A slot after the checkpoint, cleared of orders before it, is told at another price."""
    place = next(n for n, row in enumerate(rows) if row.event == "SlotCleared" and row.block > cut)
    values = rows[place].arguments
    rows[place] = replace(rows[place], arguments={**values, "price": values["price"] + 1})
    return "price is what orders and readings imply"


def forged_head(rows, cut):
    """A log head after the checkpoint does not name the one before it."""
    place = next(n for n, row in enumerate(rows) if row.event == "LogHeadPosted" and row.block > cut)
    rows[place] = replace(rows[place], arguments={**rows[place].arguments, "predecessor": b"\x05" * 32})
    return "a log head names the one before it"


def left_out(rows, cut):
    """A recovery that was set before the checkpoint is stopped after it, which is not told."""
    place = next(n for n, row in enumerate(rows) if row.event == "RecoveryStopped" and row.block > cut)
    del rows[place]
    return "its recovery is as said last"


def told_of_before(rows, cut):
    """An event after the checkpoint is told as of before it."""
    place = next(n for n, row in enumerate(rows) if row.block > cut)
    rows[place:place] = [rows[place]]
    return "each event follows the one before it, once"


@pytest.mark.parametrize(
    ("lie", "event"),
    [
        (used_before, "PurchaseFunded"),
        (beyond_its_balance, "PurchaseFunded"),
        (another_price, "SlotCleared"),
        (forged_head, "LogHeadPosted"),
        (left_out, "RecoveryStopped"),
        (told_of_before, "OrderPlaced"),
    ],
)
def test_what_is_off_after_it_is_found_as_from_the_start(history, tmp_path, lie, event):
    cut, path = history.cut(event), tmp_path / "a.checkpoint"
    history.verified(history.rows, cut, path)
    rows = list(history.rows)
    rule = lie(rows, cut)
    went_on = history.verified(rows, history.head, since=path)[0]
    whole = history.verified(rows, history.head)[0]
    assert any(rule in finding.rule for finding in went_on.findings), went_on.findings
    assert Counter(map(str, went_on.findings)) == Counter(map(str, whole.findings))


@pytest.fixture(scope="module")
def written(history, tmp_path_factory):
    """A checkpoint of half of the history."""
    path = tmp_path_factory.mktemp("checkpoints") / "half"
    history.verified(history.rows, history.cut("HomeRegistered", last=False), path)
    return path


def read(history, path, signer=OWNER.address, record=None):
    """Go on from a checkpoint by fresh rules."""
    rules = all_rules(history.w3, history.record)
    with all_calls(history.w3, history.record, rules) as calls:
        known = checkpoint.Known(rules, calls[1], Report())
        return checkpoint.read(path, signer, record or history.record, known)


def test_a_file_that_was_changed_anywhere_is_refused(history, written, tmp_path):
    whole, draw, path = written.read_bytes(), random.Random(8), tmp_path / "changed"
    size = len(whole)
    signer = whole.rindex(OWNER.address.encode())
    places = {*draw.sample(range(size - 1), 60), *range(size - 900, size - 1, 7)} - {*range(signer, signer + 42)}
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointDamaged):
            read(history, path)


@pytest.mark.parametrize("cut", ["a line less", "a line more", "lines in another order", "half of it"])
def test_a_file_with_other_lines_is_refused(history, written, tmp_path, cut):
    lines = written.read_bytes().splitlines(keepends=True)
    changed = {
        "a line less": lines[1:],
        "a line more": [lines[0], *lines],
        "lines in another order": [lines[1], lines[0], *lines[2:]],
        "half of it": lines[: len(lines) // 2],
    }[cut]
    path = tmp_path / "changed"
    path.write_bytes(b"".join(changed))
    with pytest.raises(CheckpointDamaged):
        read(history, path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[" * 4000, b"\x80\x04}\x94.", b"null", b"9" * 5000, b'{"chainId": "x"}']
)
def test_a_file_that_is_none_is_refused(history, tmp_path, content):
    path = tmp_path / "none"
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged):
        read(history, path)
    with pytest.raises(CheckpointDamaged, match="can't be read"):
        read(history, tmp_path / "nowhere")


def test_what_another_signed_is_refused(history, written, tmp_path):
    with pytest.raises(CheckpointOfAnother, match=OWNER.address):
        read(history, written, signer=Account.from_key(b"\x78" * 32).address)
    # to write another name beside it does not help
    path, other = tmp_path / "renamed", Account.from_key(b"\x78" * 32).address
    path.write_bytes(written.read_bytes().replace(OWNER.address.encode(), other.encode()))
    with pytest.raises(CheckpointDamaged):
        read(history, path, signer=other)


def test_one_of_another_chain_or_of_other_contracts_is_refused(history, written):
    record = history.record
    with pytest.raises(CheckpointForeign, match="chain 1337, not 5"):
        read(history, written, record=replace(record, chain_id=5))
    with pytest.raises(CheckpointForeign):
        read(history, written, record=replace(record, genesis="0x" + "11" * 32))
    escrow = replace(record.contracts["Escrow"], address=record.contracts["CareRegistry"].address)
    with pytest.raises(CheckpointForeign, match="other contracts"):
        read(history, written, record=replace(record, contracts={**record.contracts, "Escrow": escrow}))


def test_one_by_other_rules_is_refused(history, written, monkeypatch):
    monkeypatch.setattr(checkpoint, "rules_version", lambda: b"\x01" * 32)
    with pytest.raises(CheckpointOutdated, match="verify from the start"):
        read(history, written)


def test_the_rules_version_is_that_of_every_source(monkeypatch, tmp_path):
    def version(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return checkpoint.rules_version.__wrapped__()

    monkeypatch.setattr(checkpoint.liggare, "__file__", str(tmp_path / "__init__.py"))
    one = version(rules="1", other="")
    assert version(rules="2") != one
    assert version(rules="1") == one
    assert version(more="") != one


def test_it_is_its_owners_alone_and_written_whole_or_not_at_all(history, written, tmp_path, monkeypatch):
    assert written.stat().st_mode & 0o777 == 0o600
    path = tmp_path / "kept"
    path.write_bytes(b"the one before")
    monkeypatch.setattr(checkpoint.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(DataError, match="No space left"):
        history.verified(history.rows, history.cut("HomeRegistered", last=False), path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


class Some:
    """Something with members of every form."""

    def __init__(self):
        self.large = {(f"0x{number:040x}", bytes([number % 256])): number for number in range(50_000)}
        self.many = set(range(50_000))
        self.counts = Counter({f"0x{number:040x}": number for number in range(50_000)})
        self.small = [None, True, -(2**300), "å\n", (1, [b"\x00"])]


def test_large_sets_and_mappings_are_split_into_lines_that_stay_small():
    told, fresh = list(kept.lines([Part(Some())])), Some()
    assert max(map(len, told)) < 2_500_000
    assert len(told) == 3 * 3 + 1
    vars(fresh).update(dict.fromkeys(vars(fresh)))
    kept.take([Part(fresh)], told)
    assert vars(fresh) == vars(Some())
    assert isinstance(fresh.counts, Counter)


@pytest.mark.parametrize(
    "line",
    [
        ["Other", "small", 1],
        ["Some", "other", 1],
        ["Some", "small", ["Popen", "ls"]],
        ["Some", "small", ["anew", "large"]],
        ["Some", "small", ["dict", 1]],
        ["Some", "small", ["bytes", "x"]],
        ["Some", "small"],
        ["Some", "small", []],
        1,
    ],
)
def test_a_line_of_another_form_makes_nothing(line):
    told = list(kept.lines([Part(Some())]))[:-1]
    with pytest.raises(ValueError):
        kept.take([Part(Some())], [*told, json.dumps(line).encode()])
    with pytest.raises(ValueError, match=r"nothing is told of Some\.small"):
        kept.take([Part(Some())], told)


def test_what_there_is_no_form_of_is_not_written():
    some = Some()
    some.small = [open]
    with pytest.raises(TypeError, match="no form"):
        list(kept.lines([Part(some)]))
