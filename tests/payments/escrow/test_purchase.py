"""The file of an offer: comes back as it was, and whatever is off with it is found before anything is signed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from liggare.errors import DataError
from liggare.messages import Domain, address
from liggare.payments.purchase import NOBODY, Offer, Purchase, hash_order

DOMAIN = Domain("Liggare Escrow", "1", 1337, address("0x" + "cc" * 20))
SALT = b"\x11" * 32


@pytest.fixture
def offer(anna, bo):
    """Bo offers Anna a bicycle."""
    terms = (anna.address, bo.address, NOBODY, 2**60, 1_800_000_000, 2**256 - 1, hash_order("a bicycle", SALT))
    return Offer(Purchase(DOMAIN, *terms).sign(bo), "a bicycle", SALT)


@pytest.fixture
def path(offer, tmp_path):
    """The offer's file."""
    offer.write(tmp_path / "offer.json")
    return tmp_path / "offer.json"


def test_it_comes_back_as_it_was(offer, path):
    assert Offer.read(path, DOMAIN) == offer


def test_an_existing_file_is_never_replaced(offer, path):
    before = path.read_bytes()
    with pytest.raises(DataError, match="can't be written"):
        offer.write(path)
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        Offer.read(tmp_path / "none.json", DOMAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"chainId": "x"},
        {"escrow": "0x12"},
        {"salt": "0x1"},
        {"salt": None},
        {"signature": "no"},
        {"terms": {}},
        {"terms": []},
    ],
)
def test_a_malformed_file_is_refused(path, change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="is no offer"):
        Offer.read(path, DOMAIN)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "not json", "\ud800"])
def test_a_file_of_something_else_is_refused(path, text):
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(DataError, match="is no offer"):
        Offer.read(path, DOMAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "5"},
        {"value": -1},
        {"value": 1.5},
        {"value": True},
        {"claimAfter": 2**256},
        {"orderHash": "0x12"},
        {"buyer": "bo"},
        {"more": 1},
    ],
)
def test_malformed_terms_are_refused(path, change):
    document = json.loads(path.read_text())
    document["terms"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="is no offer"):
        Offer.read(path, DOMAIN)


@pytest.mark.parametrize("change", [{"value": 1}, {"reclaimAfter": 0}, {"buyer": "0x" + "11" * 20}])
def test_terms_that_the_seller_did_not_sign_are_found(path, change):
    document = json.loads(path.read_text())
    document["terms"] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="not signed by the seller"):
        Offer.read(path, DOMAIN)


def test_another_order_than_the_one_hashed_is_found(path):
    path.write_text(path.read_text().replace("a bicycle", "a picture of a bicycle"))
    with pytest.raises(DataError, match="not the one that the terms name"):
        Offer.read(path, DOMAIN)


@pytest.mark.parametrize("change", [{"chain_id": 5}, {"verifying_contract": address("0x" + "dd" * 20)}])
def test_an_offer_for_another_chain_or_escrow_is_refused(path, change):
    with pytest.raises(DataError, match="not this one"):
        Offer.read(path, replace(DOMAIN, **change))
