"""Typed-data digests against ethers: pinned in `typed_data.json`, and computed again on each run.

`python -m tests.records.test_typed_data` writes the pins anew, by ethers, never by us.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account

from liggare.messages import Domain
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    BundledGrant,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
)
from tests.support import outsider

PINS = Path(__file__).with_name("typed_data.json")
KEY = Account.from_key(b"\x2a" * 32)
DOMAIN = Domain("Liggare Records", "1", 1337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
ORGANISATION = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
OTHER = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
MESSAGES = {
    "Grant": Grant(DOMAIN, KEY.address, b"\x11" * 32, b"\x22" * 32, 2**40 - 1, 7, 2**48 - 1),
    "Revoke": Revoke(DOMAIN, KEY.address, b"\x11" * 32, 8, 1_900_000_000),
    "RevokeAll": RevokeAll(DOMAIN, KEY.address, 0, 0),
    "GrantBundle": GrantBundle(
        DOMAIN,
        KEY.address,
        (
            BundledGrant(blinded=b"\x11" * 32, terms=b"\x22" * 32, version=1),
            BundledGrant(blinded=b"\x33" * 32, terms=bytes(32), version=2**40 - 1),
        ),
        3,
        2**48 - 1,
    ),
    "GrantBundle of nothing": GrantBundle(DOMAIN, KEY.address, (), 3, 2**48 - 1),
    "GrantFor": GrantFor(DOMAIN, OTHER, KEY.address, b"\x11" * 32, b"\x22" * 32, 2**40 - 1, 7, 2**48 - 1),
    "RevokeFor": RevokeFor(DOMAIN, OTHER, KEY.address, b"\x11" * 32, 8, 1_900_000_000),
    "Appoint": Appoint(DOMAIN, KEY.address, OTHER, ORGANISATION, 15, 2_000_000_000, 2, 2**48 - 1),
    "Dismiss": Dismiss(DOMAIN, KEY.address, OTHER, ORGANISATION, 3, 2**48 - 1),
    "SetRecovery": SetRecovery(DOMAIN, KEY.address, 2, 2**32 - 1, 1, 0),
    "Recover": Recover(DOMAIN, OTHER, ORGANISATION, 2, 1_900_000_000),
    "StopRecovery": StopRecovery(DOMAIN, KEY.address, 3, 1_900_000_000),
    "SetEmergency refused": SetEmergency(DOMAIN, KEY.address, False, 1, 1_900_000_000),
    "SetEmergency allowed": SetEmergency(DOMAIN, KEY.address, True, 2, 1_900_000_000),
    "BreakGlass": BreakGlass(DOMAIN, ORGANISATION, KEY.address, 1 << 28, 1_800_000_000, 1, 2**48 - 1),
}


def asked():
    signed = {name: message.sign(KEY) for name, message in MESSAGES.items()}
    return [
        {"typedData": message.typed_data(), "signature": "0x" + signed[name].signature.hex()}
        for name, message in MESSAGES.items()
    ]


@pytest.mark.parametrize("name", MESSAGES)
def test_an_id_is_the_one_that_ethers_computed(name):
    pin = json.loads(PINS.read_text())[name]
    assert MESSAGES[name].id.to_0x_hex() == pin["digest"]
    assert pin["signer"] == KEY.address


def test_ethers_agrees_today_on_digest_and_signer():
    answers = dict(zip(MESSAGES, outsider(asked()), strict=True))
    assert answers == json.loads(PINS.read_text())


def test_the_contract_signs_for_the_same_domain(access, client):
    name, version, chain, contract = access.eip712Domain()[1:5]
    assert Domain(name, version, chain, contract) == client.domain


if __name__ == "__main__":
    PINS.write_text(json.dumps(dict(zip(MESSAGES, outsider(asked()), strict=True)), indent=2) + "\n")
