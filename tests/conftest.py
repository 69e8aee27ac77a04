"""The world of the tests: a chain of their own, the deployed suite, and people by name.

Every test starts from the freshly deployed suite: the chain is set back after each one.
Members hold no ether; the `operator` does, carries their messages, and has the roles.
"""

from __future__ import annotations

import gc
import time

import pytest
from brownie import OddToken, network, web3
from brownie import accounts as brownie_accounts
from brownie._config import CONFIG
from eth_account import Account
from web3.exceptions import TransactionNotFound

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from scripts import deploy as deploy_script
from scripts.nodes import free_port
from tests.support import GasBook, isolated

for _settings in CONFIG.networks.values():
    if "cmd_settings" in _settings:
        _settings["cmd_settings"]["port"] = free_port()


def pytest_addoption(parser):
    parser.addoption("--write-gas", action="store_true", help="write gas.json instead of checking it")


def pytest_collection_modifyitems(config, items):
    """Leave tests marked `long` to those who ask for them by `-m long`."""
    if "long" not in (config.option.markexpr or ""):
        kept = [item for item in items if "long" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if "long" in item.keywords])
        items[:] = kept


@pytest.fixture(scope="session")
def operator():
    """Who runs the services, pays the gas, issues the money, accredits and registers: a Brownie account."""
    return brownie_accounts[0]


@pytest.fixture(scope="session")
def stranger():
    """Somebody with ether and no role."""
    return brownie_accounts[9]


@pytest.fixture(scope="session", autouse=True)
def patient_receipts():
    """Ask again for a receipt that is not there at once.

    Anvil counts a sender's nonce up a moment before it shows the receipt, which Brownie takes for a
    dropped transaction.
    """
    ask = web3.eth.get_transaction_receipt

    def patient(txid):
        for _ in range(40):
            try:
                return ask(txid)
            except TransactionNotFound:
                time.sleep(0.05)
        return ask(txid)

    web3.eth.get_transaction_receipt = patient
    yield
    web3.eth.get_transaction_receipt = ask


@pytest.fixture(scope="session")
def deployments_folder(tmp_path_factory):
    """Where this run keeps its deployment record."""
    return tmp_path_factory.mktemp("deployments")


@pytest.fixture(scope="session")
def token():
    """The ERC-20 that the suite's vault keeps: 18 decimals, and odd when told to be."""
    return OddToken.deploy(18, {"from": brownie_accounts[6]})


@pytest.fixture(scope="session")
def deployments(operator, deployments_folder, token):
    """The whole suite deployed by the script that people use; its record."""
    record = deploy_script.deploy(operator, deployments_folder, token.address)
    gc.collect()
    gc.freeze()  # Brownie collects garbage at each revert; spare it the compiler's artefacts
    return record


@pytest.fixture(scope="session")
def rpc_url():
    """Where this run's chain answers."""
    return web3.provider.endpoint_uri


@pytest.fixture(scope="session")
def w3(rpc_url):
    """The package's own connection to the same chain."""
    return connect(rpc_url)


@pytest.fixture(scope="session")
def carrier(w3):
    """The package's Sender of an account with ether and no role."""
    account = _person("carrier")
    brownie_accounts[8].transfer(account.address, "50 ether")
    return Sender(w3, account)


@pytest.fixture(autouse=True)
def isolation(deployments):
    """Set the chain back to the freshly deployed suite after the test."""
    with isolated():
        yield


@pytest.fixture(scope="session")
def gas(request):
    """Check a measured figure against `gas.json` by name: `gas("payments.transfer", used)`."""
    book = GasBook(write=request.config.getoption("--write-gas"))
    yield book
    book.close()


def _person(name: str):
    return Account.from_key(bytes(12) + name.encode().rjust(20, b"\1"))


@pytest.fixture(scope="session")
def anna():
    """A member: a key, no ether."""
    return _person("anna")


@pytest.fixture(scope="session")
def bo():
    """A member: a key, no ether."""
    return _person("bo")


@pytest.fixture(scope="session")
def cia():
    """A member: a key, no ether."""
    return _person("cia")


@pytest.fixture(scope="session")
def mallory():
    """Who tries to cheat: a key, no ether."""
    return _person("mallory")


@pytest.fixture(scope="session")
def network_name():
    """`ganache-cli` or `anvil`."""
    return network.show_active()
