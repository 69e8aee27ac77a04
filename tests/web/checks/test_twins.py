"""What the browser computes is what the package computes: codec, clearing, money, readings, Merkle trees, words."""

from __future__ import annotations

import base64
import json
import random
import re
from itertools import pairwise

import numpy as np
import pytest
from eth_utils import keccak
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector

from liggare.chain.artifacts import artifact
from liggare.energy.codec import Entry, Tag, encode_readings
from liggare.energy.matching import match
from liggare.energy.settlement import Tariffs, Terms, Till
from liggare.messages import Domain, Signed
from liggare.payments.codec import encode
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization, counter
from liggare.records.tree import Tree, canonical
from tests.support import ROOT
from tests.web.checks.conftest import node

DOMAIN = Domain("Liggare Krona", "1", 1337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
SOURCES = ROOT / "liggare" / "web" / "checks"


def items(people, chance):
    """Payments and bundles of every form: counter and random nonces, keys' signatures and wallets'."""
    made = []
    for number in range(40):
        payer, *payees = chance.sample(people, 4)
        nonce = chance.choice([counter(number + 1), counter(2**40 + number), chance.randbytes(32)])
        times = (chance.randrange(2**32), chance.randrange(2**32), nonce)
        if number % 3 == 0:
            rows = tuple({"to": each.address, "value": chance.randrange(2**64)} for each in payees)
            message = PaymentBundle(DOMAIN, payer.address, rows, *times)
        else:
            value = chance.randrange(2**64)
            message = TransferWithAuthorization(DOMAIN, payer.address, payees[0].address, value, *times)
        wallet = number % 5 == 4
        made.append(Signed(message, chance.randbytes(chance.randrange(200))) if wallet else message.sign(payer))
    return made


def test_a_batch_is_unpacked_to_the_messages_that_were_signed(anna, bo, cia, mallory):
    made = items([anna, bo, cia, mallory], random.Random(1))
    (found,) = node({"do": "batch", "data": "0x" + encode(made).hex(), "domain": DOMAIN.typed()})
    assert [each["id"] for each in found] == [each.id.to_0x_hex() for each in made]
    assert [each["signature"] for each in found] == ["0x" + each.signature.hex() for each in made]
    by_key = [each for each in zip(found, made, strict=True) if len(each[1].signature) == 65]
    assert len(by_key) > 30
    assert all(one["signer"] == other.message.from_ for one, other in by_key)


def test_what_the_contract_takes_for_malformed_is_refused(anna, bo, cia, mallory):
    batch = encode(items([anna, bo, cia, mallory], random.Random(2)))
    unsorted = batch[:4] + batch[24:44] + batch[4:24] + batch[44:]
    odd = ["0x" + each.hex() for each in (batch[:-1], batch + b"\0", unsorted, b"\0\1")]
    answers = node(*({"do": "batch", "data": each, "domain": DOMAIN.typed()} for each in odd))
    assert all("error" in answer for answer in answers), answers


def test_books_of_all_kinds_clear_alike():
    chance = random.Random(3)
    asked, expected = [], []
    for _ in range(300):
        lowest = chance.randrange(1, 20)
        highest = lowest + chance.choice([0, 1, 5, 2**20])
        sides = [
            [(chance.randrange(max(lowest - 3, 0), highest + 4), chance.choice([0, 1, 7, 10**6])) for _ in range(count)]
            for count in (chance.randrange(8), chance.randrange(8))
        ]
        bids, offers = (np.array(side, np.int64).reshape(-1, 2) for side in sides)
        book = [bids[:, 0], bids[:, 1], offers[:, 0], offers[:, 1]]
        expected.append(match(*book, feed_in=lowest, retail=highest))
        named = [[{"limit": limit, "wh": wh} for limit, wh in side] for side in sides]
        asked.append({"do": "match", "bids": named[0], "offers": named[1], "lowest": lowest, "highest": highest})
    for found, right in zip(node(*asked), expected, strict=True):
        assert (found["lo"], found["hi"]) == (right.lo, right.hi)
        assert (found["price"], found["volume"]) == (right.price, right.volume)
        assert (found["bought"], found["sold"]) == (right.bought.tolist(), right.sold.tolist())


def test_large_shares_are_placed_to_the_last_wh():
    """The product of what is left and a running sum exceeds what floats hold."""
    bids = [(100, 2**24 - 1 - number) for number in range(300)]
    offers = [(50, 2**24 - 1), (60, 2**23 + 1)]
    book = np.array(bids, np.int64), np.array(offers, np.int64)
    right = match(book[0][:, 0], book[0][:, 1], book[1][:, 0], book[1][:, 1], feed_in=10, retail=100)
    named = [[{"limit": limit, "wh": wh} for limit, wh in side] for side in (bids, offers)]
    (found,) = node({"do": "match", "bids": named[0], "offers": named[1], "lowest": 10, "highest": 100})
    assert found["bought"] == right.bought.tolist()
    assert sum(found["bought"]) == right.volume


@pytest.mark.parametrize("rich", [10**12, 3 * 10**6], ids=["money enough", "money short"])
def test_slots_settle_alike_to_the_unit(rich):
    chance = random.Random(rich)
    tariffs = Tariffs(2_500, 600, 150)
    till = Till(tariffs, {home: chance.randrange(rich) for home in range(1, 9)}, utility=chance.randrange(rich))
    given = {"balances": [[home, str(value)] for home, value in till.balances.items()], "utility": str(till.utility)}
    slots, expected = [], []
    for _ in range(60):
        nets = {
            home: chance.choice([0, chance.randrange(-3000, 3000)]) for home in till.balances if chance.random() < 0.9
        }
        orders = {home: Terms(*(chance.randrange(2_800) for _ in range(3))) for home in nets if chance.random() < 0.8}
        words = [
            [home, {"buyLimit": at.buy_limit, "sellLimit": at.sell_limit, "cap": at.cap}] for home, at in orders.items()
        ]
        slots.append({"nets": list(nets.items()), "orders": words})
        expected.append(till.settle_slot(nets, orders))
    words = {"retail": tariffs.retail, "feedIn": tariffs.feed_in, "gridFee": tariffs.grid_fee}
    (found,) = node({"do": "settle", "tariffs": words, "slots": slots, **given})
    for one, right in zip(found["slots"], expected, strict=True):
        assert one["price"] == right.clearing.price
        assert {home: wh for home, wh in one["traded"] if wh} == {home: wh for home, wh in right.traded.items() if wh}
        assert int(one["unpaid"]) == right.unpaid
    assert {home: int(value) for home, value in found["balances"]} == till.balances
    assert (int(found["utility"]), int(found["debt"])) == (till.utility, till.debt)
    assert (till.debt > 0) == (rich < 10**9), "both kinds of street are tried"


def test_readings_are_unpacked_alike_and_as_strictly():
    signature, deltas = bytes(range(64)), bytes(range(12))
    entries = [Entry(Tag.MISSING), Entry(Tag.CONTINUES, signature, deltas), Entry(Tag.POSTED)]
    entries.append(Entry(Tag.CATCH_UP, signature, deltas, (2**40, 7)))
    packed = encode_readings(entries)
    odd = [packed[:-1], packed + b"\0", b"\4" + packed[1:]]
    good, *bad = node(
        *({"do": "readings", "data": "0x" + each.hex(), "homes": 4, "count": 2} for each in (packed, *odd))
    )
    assert [each["tag"] for each in good] == [0, 1, 3, 2]
    assert good[3] == {
        "tag": 2,
        "counters": [2**40, 7],
        "signature": "0x" + signature.hex(),
        "deltas": "0x" + deltas.hex(),
    }
    assert all("error" in each for each in bad), bad


def b64(data):
    return base64.b64encode(data).decode()


def hexed(hashes):
    return ["0x" + each.hex() for each in hashes]


def test_roots_and_proofs_of_logs_are_the_same():
    entries = [f"entry {number}".encode() for number in range(70)]
    tree = Tree(entries)
    sizes = [0, 1, 2, 3, 5, 8, 31, 64, 65, 70]
    (found,) = node({"do": "roots", "entries": list(map(b64, entries)), "sizes": sizes})
    assert found == [[size, "0x" + tree.root(size).hex()] for size in sizes]
    asked, right = [], []
    for size in sizes[1:]:
        for index in {0, size // 2, size - 1}:
            proof = tree.inclusion(index, size)
            for root, answer in ((tree.root(size), True), (bytes(32), False)):
                words = {"index": index, "size": size, "root": "0x" + root.hex(), "proof": hexed(proof)}
                asked.append({"do": "inclusion", "entry": b64(entries[index]), **words})
                right.append(answer)
    for first, second in [*pairwise(sizes[1:]), (1, 70), (5, 5)]:
        proof = tree.consistency(first, second)
        for older, answer in ((tree.root(first), True), (bytes(32), False)):
            words = {"first": first, "firstRoot": "0x" + older.hex(), "second": second, "proof": hexed(proof)}
            asked.append({"do": "consistency", "secondRoot": "0x" + tree.root(second).hex(), **words})
            right.append(answer)
    assert node(*asked) == right


def test_an_entrys_line_is_the_same():
    value = {"b": [1, True, None, 'å \u2028 \U0001f600 \x7f \x1f " \\ /'], "a": {"z": "", "A": -5}}
    (found,) = node({"do": "canonical", "value": value})
    assert found.encode() == canonical(value)


def test_the_interfaces_are_those_of_the_contracts():
    (found,) = node({"do": "interfaces"})
    abis = {"MONEY": ["ZeroFeePayments"], "PAID": ["EnergyMarket", "Escrow"], "MARKET": ["EnergyMarket"]}
    abis["RECORDS"] = ["RecordAccess"]
    for name, signatures in found.items():
        known = [item for contract in abis[name] for item in artifact(contract).abi]
        events = {event_abi_to_log_topic(item).hex(): item for item in known if item["type"] == "event"}
        functions = {function_abi_to_4byte_selector(item).hex(): item for item in known if item["type"] == "function"}
        for signature in signatures:
            kind, rest = signature.split(" ", 1)
            head, _, returned = rest.partition(") view returns (")
            title, inputs = head.split("(", 1)
            inputs = inputs.partition(") returns (")[0].removesuffix(")")
            structs = re.sub(r"\(([^()]*)\) \w+", lambda at: f"({types(at[1])})", inputs)
            listed = structs if structs != inputs else inputs
            hash_ = keccak(text=f"{title}({types(listed)})")
            item = events[hash_.hex()] if kind == "event" else functions[hash_[:4].hex()]
            assert [each["name"] for each in item["inputs"]] == names(inputs), signature
            if kind == "event":
                indexed = [" indexed " in each for each in inputs.split(", ")]
                assert [each["indexed"] for each in item["inputs"]] == indexed, signature
            elif returned:
                assert types(returned.removesuffix(")")) == ",".join(each["type"] for each in item["outputs"])


def split(inputs):
    return re.findall(r"\([^()]*\)(?: \w+)?|[^,()]+", inputs)


def types(inputs):
    return ",".join(each.strip() if each.startswith("(") else each.split()[0] for each in split(inputs) if each.strip())


def names(inputs):
    return [each.split()[-1] for each in split(inputs) if each.strip()]


def test_both_languages_have_every_word_that_is_used():
    (words,) = node({"do": "words"})

    def shape(value):
        return {name: shape(each) for name, each in value.items()} if isinstance(value, dict) else type(value).__name__

    assert shape(words["en"]) == shape(words["sv"])
    code = "\n".join(path.read_text() for path in SOURCES.glob("*.js") if path.name != "words.js")
    rules = set(re.findall(r'(?:same|Wrong)\(\s*"(\w+)"', code)) | {"form"}
    rules |= {name + page for name in ("lo", "hi", "price", "volume") for page in ("", "Page")}
    assert set(words["en"]["rules"]) == rules
    steps = set(re.findall(r'(?:step|needed)\(\s*"(\w+)"', code))
    assert set(words["en"]["steps"]) == steps
    assert set(words["en"]["reasons"]) == set(re.findall(r'(?:Unknown|Refused)\(\s*"(\w+)"', code))
    assert json.dumps(words["sv"]) != json.dumps(words["en"])
