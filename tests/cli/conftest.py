"""The command as people type it, in this process, against this run's chain."""

from __future__ import annotations

import json
import sys

import pytest
from brownie import ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare import accounts
from liggare.cli.main import main

KRONA = 10**6
PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Key files and the password file of these tests."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def password_file(folder):
    """A file whose first line opens every key file here."""
    path = folder / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


@pytest.fixture(scope="session")
def key_file(folder):
    """Write an account's key file once and return its path: `key_file(anna, "anna")`."""

    def key_file(account, name):
        path = folder / f"{name}.json"
        if not path.exists():
            accounts.write(path, account, PASSWORD, iterations=2)
        return path

    return key_file


@pytest.fixture
def carrier_file(carrier, key_file):
    """Key file of who carries messages and pays the gas."""
    return key_file(carrier.account, "carrier")


@pytest.fixture
def anna_file(anna, key_file):
    """Anna's key file."""
    return key_file(anna, "anna")


@pytest.fixture
def liggare(rpc_url, deployments_folder, password_file, capsys, monkeypatch):
    """Run the command: `code, out, err = liggare("pay", …)`; with `--json`, `out` is the object."""

    def liggare(*words, rpc=rpc_url):
        common = ["--rpc", rpc, "--deployments", deployments_folder, "--password-file", password_file]
        monkeypatch.setattr(sys, "argv", ["liggare", *map(str, common), *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        out = json.loads(printed.out) if "--json" in words and printed.out else printed.out
        return caught.value.code or 0, out, printed.err

    return liggare


@pytest.fixture
def money(deployments, operator, anna):
    """The money; Anna has 1,000."""
    contract = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    contract.mint(anna.address, 1000 * KRONA, {"from": operator})
    return contract


@pytest.fixture
def ether():
    """Give an account ether, for those who carry themselves."""
    return lambda account: brownie_accounts[7].transfer(account.address, "1 ether")
