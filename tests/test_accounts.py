"""Key files: other wallets read them, a wrong password does not, and nothing is ever overwritten."""

from __future__ import annotations

import json
import subprocess

import pytest
from eth_account import Account

from liggare import accounts
from liggare.errors import KeyFileError, KeyFileMalformed, KeyFileMissing, UsageError, WrongPassword
from tests.support import ROOT

# Web3 Secret Storage's own published test vector (PBKDF2), which we did not make
VECTOR = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}


def test_a_written_key_is_read_again(tmp_path):
    path = tmp_path / "anna.json"
    made = accounts.create(path, "pass", iterations=2)
    assert accounts.read(path, "pass").address == made.address
    assert Account.decrypt(json.loads(path.read_text()), "pass") == made.key


def test_the_published_key_file_opens(tmp_path):
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(VECTOR))
    key = accounts.read(path, "testpassword").key
    assert key.hex() == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"


def test_a_wrong_password_opens_nothing(tmp_path):
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(VECTOR))
    with pytest.raises(WrongPassword):
        accounts.read(path, "testpassworD")


def test_an_existing_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "anna.json"
    path.write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        accounts.create(path, "pass", iterations=2)
    assert path.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["anna.json"]


def test_an_empty_password_is_refused(tmp_path):
    with pytest.raises(UsageError, match="needs a password"):
        accounts.create(tmp_path / "anna.json", "", iterations=2)


def test_a_missing_file_and_one_that_is_none(tmp_path):
    with pytest.raises(KeyFileMissing):
        accounts.read(tmp_path / "none.json", "pass")
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**VECTOR, "crypto": {}}))
    with pytest.raises(KeyFileMalformed):
        accounts.read(path, "pass")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="can't be written"):
        accounts.create(tmp_path / "file" / "anna.json", "pass", iterations=2)


def test_listed_leaves_out_what_is_no_key_file(tmp_path):
    (tmp_path / "vector.json").write_text(json.dumps(VECTOR))
    (tmp_path / "odd.json").write_text(json.dumps({**VECTOR, "address": "not one"}))
    (tmp_path / "deep.json").write_text("[" * 60_000)
    (tmp_path / "large.json").write_text(json.dumps({**VECTOR, "padding": " " * 70_000}))
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "folder").mkdir()
    assert accounts.listed(tmp_path) == {tmp_path / "odd.json": None, tmp_path / "vector.json": None}


def test_an_exported_key_file_is_one_that_ethers_opens(tmp_path):
    made = accounts.create(tmp_path / "anna.json", "pass", iterations=2)
    accounts.export(tmp_path / "anna.json", "pass", tmp_path / "wallet.json")
    script = (
        "import { Wallet } from 'ethers'; import { readFileSync } from 'node:fs';"
        "console.log(Wallet.fromEncryptedJsonSync(readFileSync(0, 'utf8'), 'pass').address)"
    )
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        cwd=ROOT,
        input=(tmp_path / "wallet.json").read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == made.address
