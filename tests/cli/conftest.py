"""The command as people type it, in this process, against this run's chain."""

from __future__ import annotations

import json
import sys

import pytest
from brownie import EnergyMarket, ZeroFeePayments
from brownie import accounts as brownie_accounts
from eth_account import Account

from liggare import accounts
from liggare.cli.main import main
from liggare.energy.client import Energy
from liggare.records.pseudonyms import Pseudonyms
from tests.records.conftest import (
    accredited,
    ambulance,
    client,
    clinic,
    domain,
    hospital,
    hospital_sender,
    institute,
    insurer,
    on_call,
    registry,
)
from tests.support import now, pass_time
from tests.web.gatekeeper.conftest import MASTER, clock, serve

__all__ = [
    "accredited",
    "ambulance",
    "client",
    "clinic",
    "clock",
    "domain",
    "hospital",
    "hospital_sender",
    "institute",
    "insurer",
    "on_call",
    "registry",
    "serve",
]

KRONA = 10**6
PASSWORD = "correct horse"
WORDS = {  # of BIP-39's own tests: public, and worthless
    "anna": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "vera": "legal winner thank year wave sausage worth useful legal winner thank yellow",
    "olle": "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
    "nils": "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
}
METERS = {"anna": Account.from_key(b"\x61" * 32), "bo": Account.from_key(b"\x62" * 32)}


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


@pytest.fixture
def operator_file(key_file):
    """The key file of the operator, who registers homes too."""
    return key_file(Account.from_mnemonic("test test test test test test test test test test test junk"), "operator")


@pytest.fixture
def market(deployments, money, w3):
    """The market, as the package sees it."""
    assert EnergyMarket.at(deployments.contracts["EnergyMarket"].address).homeCount() == 0
    return Energy(w3, deployments)


@pytest.fixture
def homes(liggare, market, operator_file, anna, bo):
    """Anna's home is 1, Bo's is 2."""
    found = {}
    for name, owner in (("anna", anna), ("bo", bo)):
        words = ("register", owner.address, METERS[name].address, "--key", operator_file)
        code, out, _ = liggare(*words, "--json")
        assert code == 0
        found[name] = out["home"]
    return found


@pytest.fixture
def day(liggare, market, homes, anna_file, carrier_file, key_file, bo, tmp_path):
    """Anna buys up to 2.00 with 100 deposited, Bo sells from 1.00 on; the first slot of both has been metered."""
    carry = ("--carrier", carrier_file)
    assert liggare("deposit", "1", "100", "--key", anna_file, *carry)[0] == 0
    assert liggare("order", "1", "--buy", "2.00", "--cap", "3000", "--key", anna_file, *carry)[0] == 0
    assert liggare("order", "2", "--sell", "1.00", "--cap", "3000", "--key", key_file(bo, "bo"), *carry)[0] == 0
    first = market.next_slot()
    joined = market.current_slot() + 1
    pass_time(market.begins(joined + 1) + market.gate + 1 - now())
    readings = tmp_path / "readings.jsonl"
    for name, row in (("anna", "900,0"), ("bo", "0,400")):
        table = tmp_path / f"{name}.csv"
        idle = "0,0\n" * (joined - first)
        table.write_text(f"imported,exported\n{idle}{row}\n")
        meter = key_file(METERS[name], f"meter-{name}")
        words = ("measure", homes[name], table, "--key", meter, "--out", readings, "--first", joined)
        table.write_text(f"imported,exported\n{row}\n")
        assert liggare(*words)[0] == 0
    return readings


@pytest.fixture
def settled(liggare, day, carrier_file):
    """The slot of `day` is cleared: Anna took 900 Wh, 400 of them from Bo at 2.00."""
    code, out, _ = liggare("clear", day, "--key", carrier_file, "--json")
    assert code == 0
    return out["slots"][0]["slot"]


# ---------------------------------------------------------------------- records


@pytest.fixture
def words_of(tmp_path):
    """Write somebody's seed phrase to a file of its own and return the path: `words_of("vera")`."""

    def words_of(name):
        path = tmp_path / f"{name}.phrase"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(WORDS[name] + "\n")
        return path

    return words_of


def known_as(name, organisation):
    """The pseudonym by which an organisation (or a ward's guardian's key) goes with somebody's phrase."""
    return Pseudonyms(WORDS[name]).relationship(getattr(organisation, "address", organisation)).patient


@pytest.fixture
def gate(serve, institute, insurer, ambulance, accredited):
    """The hospital's gatekeeper; Anna's chart f001 is linked with her pseudonym for the institute and the insurer."""
    with serve() as served:
        for organisation in (institute, insurer):
            served.service.desk.archive.link(known_as("anna", organisation), "Patient/f001")
        yield served


@pytest.fixture
def at(gate, hospital):
    """The words that lead to the gatekeeper."""
    return ("--gatekeeper", gate.url, "--custodian", hospital.address)


@pytest.fixture
def granted(liggare, accredited, words_of, carrier_file, institute, tmp_path):
    """Anna lets the institute read observations for research; the share."""
    share = tmp_path / "share.json"
    words = ("--purpose", "HRESCH", "--until", "2099-12-31", "--share", share, "--carrier", carrier_file)
    code, _, err = liggare(
        "records", "grant", institute.address, "Observation", "--phrase", words_of("anna"), *words, "--json"
    )
    assert (code, err) == (0, "")
    return share


@pytest.fixture
def reads(liggare, at, key_file, institute, granted):
    """The institute reads by Anna's share: `code, out, err = reads("Observation/f001")`."""

    def reads(record, *extra, purpose="HRESCH"):
        who = ("--key", key_file(institute, "institute"), "--share", granted, "--purpose", purpose)
        return liggare("records", "read", record, *who, *at, *extra, "--json")

    return reads


@pytest.fixture
def kept(tmp_path):
    """Where the gatekeeper of these tests keeps its log, and with which master key."""
    master = tmp_path / "gatekeeper.master"
    master.touch(mode=0o600)
    master.write_text(MASTER.key.hex() + "\n")
    return "--database", f"sqlite:///{tmp_path}/gatekeeper.db", "--master-key", master
