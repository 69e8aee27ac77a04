"""`liggare account`: keys in encrypted files, and nothing of them on the terminal."""

from __future__ import annotations

import json
import shutil

import pytest
from eth_account import Account

from tests.cli.conftest import PASSWORD


def test_a_new_account_opens_with_its_password_and_is_never_overwritten(liggare, deployments, tmp_path, monkeypatch):
    path = tmp_path / "new" / "dan.json"
    code, out, _ = liggare("account", "new", path, "--json")
    assert code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    code, shown, _ = liggare("account", "show", path, "--json")
    assert (code, shown) == (0, {"address": out["address"], "balance": 0})
    before = path.read_bytes()
    code, _, err = liggare("account", "new", path)
    assert (code, path.read_bytes()) == (2, before)
    assert "never overwritten" in err


def test_a_wrong_password_is_one_line(liggare, anna_file, bo, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong"
    wrong.write_text("not it\n")
    monkeypatch.setenv("LIGGARE_PASSWORD_FILE", str(wrong))
    code, out, err = liggare("--password-file", wrong, "account", "show", anna_file, "--json")
    assert (code, out["error"]) == (1, "WrongPassword")
    assert "not it" not in err


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"version": 3}', '{"version": 3, "crypto": {}}', "[]"])
def test_a_file_that_is_no_key_file_is_one_line(liggare, tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    code, out, err = liggare("account", "show", path, "--json")
    assert (code, out["error"]) == (1, "KeyFileMalformed")
    assert err.count("\n") == 1


def test_a_missing_key_file_is_one_line(liggare, tmp_path):
    code, out, _ = liggare("account", "show", tmp_path / "none.json", "--json")
    assert (code, out["error"]) == (1, "KeyFileMissing")


def test_list_tells_the_addresses_and_opens_nothing(liggare, anna_file, carrier_file, anna, carrier, tmp_path):
    shutil.copy(anna_file, tmp_path / "anna.json")
    shutil.copy(carrier_file, tmp_path / "UTC--carrier")
    (tmp_path / "notes.txt").write_text("no key file")
    shy = {name: value for name, value in json.loads(anna_file.read_text()).items() if name != "address"}
    (tmp_path / "shy.json").write_text(json.dumps(shy))
    code, out, _ = liggare("--password-file", tmp_path / "there is none", "account", "list", tmp_path, "--json")
    assert code == 0
    assert out["accounts"] == [
        {"address": carrier.account.address, "path": f"{tmp_path}/UTC--carrier"},
        {"address": anna.address, "path": f"{tmp_path}/anna.json"},
        {"address": None, "path": f"{tmp_path}/shy.json"},
    ]
    code, out, _ = liggare("account", "list", tmp_path)
    assert (code, out.count("\n")) == (0, 3)
    assert "tells no address" in out


def test_list_of_no_folder_is_one_line_and_of_an_empty_one_says_so(liggare, tmp_path):
    code, out, err = liggare("account", "list", tmp_path / "none", "--json")
    assert (code, out["error"], err.count("\n")) == (1, "KeyFileMissing", 1)
    assert liggare("account", "list", tmp_path)[:2] == (0, f"no key files in {tmp_path}\n")


def test_export_copies_the_key_file_as_it_is(liggare, anna_file, anna, tmp_path):
    target = tmp_path / "wallet.json"
    code, out, _ = liggare("account", "export", anna_file, "--out", target, "--json")
    assert (code, out) == (0, {"address": anna.address, "path": str(target), "raw": False})
    assert target.read_bytes() == anna_file.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_raw_key_goes_to_a_file_of_its_owners_only_and_never_to_the_terminal(liggare, anna_file, anna, tmp_path):
    target = tmp_path / "raw"
    code, out, err = liggare("account", "export", anna_file, "--raw", "--out", target)
    assert code == 0
    assert "UNENCRYPTED" in out
    assert anna.key.hex() not in (out + err).lower()
    assert target.stat().st_mode & 0o777 == 0o600
    assert Account.from_key(target.read_text().strip()).address == anna.address


def test_export_needs_a_file_and_replaces_none(liggare, anna_file, tmp_path):
    assert liggare("account", "export", anna_file, "--raw")[0] == 2
    target = tmp_path / "mine"
    target.write_text("mine")
    code, _, err = liggare("account", "export", anna_file, "--raw", "--out", target)
    assert (code, target.read_text()) == (2, "mine")
    assert "never overwritten" in err
    assert liggare("account", "export", anna_file, "--raw", "--out", "/dev/stdout")[0] == 2


def test_export_opens_the_file_first(liggare, anna_file, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not it\n")
    words = ("--password-file", wrong, "account", "export", anna_file, "--raw", "--out", tmp_path / "raw", "--json")
    code, out, _ = liggare(*words)
    assert (code, out["error"]) == (1, "WrongPassword")
    assert not (tmp_path / "raw").exists()


def test_no_output_holds_the_password(liggare, anna_file, tmp_path):
    for words in (("list", anna_file.parent), ("export", anna_file, "--out", tmp_path / "copy")):
        _, out, err = liggare("account", *words)
        assert PASSWORD not in out + err
