"""`liggare records grant … RESTRICTED`, `accredit --category RESTRICTED`: restricted records, by hand."""

from __future__ import annotations

import json

from eth_account import Account

from liggare.records.categories import GRANTABLE, mask
from liggare.records.client import Records
from liggare.records.share import Share

CLINIC = Account.from_key(b"\x53" * 32)


def test_restricted_records_are_accredited_for_and_granted(
    liggare, deployments, w3, operator, key_file, carrier_file, tmp_path
):
    phrase, share = tmp_path / "phrase", tmp_path / "share.json"
    phrase.touch(mode=0o600)
    phrase.write_text("abandon " * 11 + "about\n")
    accreditor = key_file(
        Account.from_mnemonic("test test test test test test test test test test test junk"), "operator"
    )
    words = ("--role", "provider", "--until", "2100-01-01", "--key", accreditor)
    both = ("--category", "Observation", "--category", "RESTRICTED")
    assert liggare("records", "accredit", CLINIC.address, *words, *both)[0] == 0
    words = ("--phrase", phrase, "--carrier", carrier_file, "--share", share)
    words = (*words, "--purpose", "TREAT", "--until", "2099-12-31")
    code, out, _ = liggare("records", "grant", CLINIC.address, "RESTRICTED", *words, "--json")
    assert (code, out["error"]) == (2, "InvalidTerms")
    assert liggare("records", "grant", CLINIC.address, "RESTRICTED", "Observation", *words)[0] == 0
    assert json.loads(share.read_text())["terms"]["categories"] == ["Observation", "RESTRICTED"]
    records, bits = Records(w3, deployments), mask(GRANTABLE, ["Observation", "RESTRICTED"])
    assert records.may_read(Share.from_json(share.read_text()), bits, 1)
    assert not records.may_read(Share.from_json(share.read_text()), bits | 1, 1)
