"""`liggare purchase`: an offer, its payment, and each way to its end."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import KRONA
from tests.support import pass_time

DAY = 86_400


@pytest.fixture
def bo_file(bo, key_file):
    """Bo's key file."""
    return key_file(bo, "bo")


@pytest.fixture
def cia_file(cia, key_file):
    """Cia's key file."""
    return key_file(cia, "cia")


@pytest.fixture
def offer(liggare, money, bo_file, anna, tmp_path):
    """The file of Bo's offer of a bicycle to Anna for 120."""
    path = tmp_path / "offer.json"
    words = ("purchase", "offer", anna.address, "120", path, "--order", "a bicycle", "--key", bo_file)
    assert liggare(*words)[0] == 0
    return path


@pytest.fixture
def funded(liggare, offer, anna_file, carrier_file):
    """The offer's file; Anna has paid."""
    assert liggare("purchase", "fund", offer, "--key", anna_file, "--carrier", carrier_file)[0] == 0
    return offer


def test_an_offer_costs_nothing_and_shows_its_terms(liggare, money, offer, anna, bo):
    code, out, _ = liggare("purchase", "show", offer, "--json")
    assert code == 0
    assert (out["order"], out["state"], out["value"]) == ("a bicycle", "none", 120 * KRONA)
    assert (out["buyer"], out["seller"]) == (anna.address, bo.address)
    assert out["reclaimAfter"] - out["claimAfter"] == 14 * DAY
    code, words, _ = liggare("purchase", "show", offer)
    assert code == 0
    assert "120.00 LKR" in words
    assert "arbiter      nobody" in words


def test_fund_moves_the_money_to_the_escrow(liggare, money, offer, deployments, anna, anna_file, carrier_file, carrier):
    words = ("purchase", "fund", offer, "--key", anna_file, "--carrier", carrier_file, "--json")
    code, out, _ = liggare(*words)
    assert (code, out["state"], out["carrier"]) == (0, "open", carrier.account.address)
    assert out["id"] == liggare("purchase", "show", offer, "--json")[1]["id"]
    assert money.balanceOf(deployments.contracts["Escrow"].address) == 120 * KRONA
    code, out, _ = liggare(*words)
    assert (code, out["error"]) == (1, "EscrowFundedBefore")


@pytest.mark.parametrize(
    ("verb", "who", "state", "to_seller"),
    [("release", "anna_file", "released", 120), ("refund", "bo_file", "refunded", 0)],
)
def test_a_word_ends_it(request, liggare, money, funded, bo, carrier_file, verb, who, state, to_seller):
    key = request.getfixturevalue(who)
    code, out, _ = liggare("purchase", verb, funded, "--key", key, "--carrier", carrier_file, "--json")
    assert (code, out["state"]) == (0, state)
    assert money.balanceOf(bo.address) == to_seller * KRONA


def test_a_claim_waits_for_its_deadline(liggare, money, funded, bo, bo_file, carrier_file):
    words = ("purchase", "claim", funded, "--key", bo_file, "--carrier", carrier_file, "--json")
    code, out, _ = liggare(*words)
    assert (code, out["error"]) == (1, "EscrowTooEarly")
    pass_time(14 * DAY + 60)
    assert liggare(*words)[1]["state"] == "claimed"
    assert money.balanceOf(bo.address) == 120 * KRONA


def test_a_reclaim_needs_nobodys_word(liggare, money, funded, anna, carrier_file):
    words = ("purchase", "reclaim", funded, "--key", carrier_file)
    code, _, err = liggare(*words)
    assert code == 1
    assert "EscrowTooEarly" in err
    pass_time(28 * DAY + 60)
    code, out, _ = liggare(*words)
    assert code == 0
    assert "is reclaimed in block" in out
    assert money.balanceOf(anna.address) == 1000 * KRONA


def test_the_arbiter_of_both_divides(
    liggare, money, anna, bo, cia, anna_file, bo_file, cia_file, carrier_file, tmp_path
):
    path = tmp_path / "offer.json"
    terms = ("--order", "a boat", "--arbiter", cia.address, "--claim-days", "3", "--reclaim-days", "3")
    assert liggare("purchase", "offer", anna.address, "100", path, *terms, "--key", bo_file)[0] == 0
    assert liggare("purchase", "fund", path, "--key", anna_file, "--carrier", carrier_file)[0] == 0
    carried = ("--key", cia_file, "--carrier", carrier_file, "--json")
    code, out, _ = liggare("purchase", "arbitrate", path, "100.01", *carried)
    assert (code, out["error"]) == (2, "UsageError")
    code, out, _ = liggare("purchase", "arbitrate", path, "70", *carried)
    assert (code, out["state"]) == (0, "arbitrated")
    assert (money.balanceOf(anna.address), money.balanceOf(bo.address)) == (930 * KRONA, 70 * KRONA)


def test_the_wrong_person_is_refused_by_name(liggare, funded, bo_file, carrier_file):
    code, out, err = liggare("purchase", "release", funded, "--key", bo_file, "--carrier", carrier_file, "--json")
    assert (code, out["error"]) == (1, "EscrowInvalidSignature")
    assert err.count("\n") == 1


def test_altered_terms_are_refused_before_anything_is_signed(liggare, money, offer, anna, anna_file, carrier_file):
    document = json.loads(offer.read_text())
    document["terms"]["value"] += 1
    offer.write_text(json.dumps(document))
    code, out, _ = liggare("purchase", "fund", offer, "--key", anna_file, "--carrier", carrier_file, "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert money.balanceOf(anna.address) == 1000 * KRONA


@pytest.mark.parametrize(
    "extra", [("--claim-days", "9", "--reclaim-days", "8"), ("--arbiter", "cia"), ("--claim-days", "nan")]
)
def test_words_that_make_no_sense_are_wrong_use(liggare, money, anna, bo_file, tmp_path, extra):
    path = tmp_path / "offer.json"
    words = ("purchase", "offer", anna.address, "1", path, "--order", "x", "--key", bo_file)
    assert liggare(*words, *extra)[0] == 2
    assert not path.exists()


def test_verify_checks_purchases(liggare, funded, anna_file, carrier_file):
    assert liggare("purchase", "release", funded, "--key", anna_file, "--carrier", carrier_file)[0] == 0
    code, out, _ = liggare("verify", "--json")
    assert (code, out["findings"]) == (0, [])
    assert out["checked"]["purchases ended"] == 1


def test_a_tampered_copy_is_found_and_named(liggare, funded, anna_file, carrier_file, tmp_path, mallory):
    """The copy says that the release went to somebody else."""
    assert liggare("purchase", "release", funded, "--key", anna_file, "--carrier", carrier_file)[0] == 0
    copy = tmp_path / "ledger.jsonl"
    liggare("export", copy)
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    lines[-1]["arguments"]["to"] = mallory.address
    copy.write_text("\n".join(map(json.dumps, lines)))
    code, out, _ = liggare("verify", "--copy", copy, "--json")
    assert code == 1
    assert "money leaves the escrow for a purchase only" in {finding["rule"] for finding in out["findings"]}
