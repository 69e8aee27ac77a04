"""Nodes and databases of a test's own, in processes that it may stop, kill and start again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pg8000.native
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from liggare.chain.artifacts import artifact
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.sender import Sender
from liggare.errors import ChainError
from tests.conftest import free_port

SEED = "test test test test test test test test test test test junk"  # public: worthless by design
CHAIN_ID = 31337
KRONA = 10**6
Account.enable_unaudited_hdwallet_features()


def funded(number: int) -> LocalAccount:
    """Return an account that has ether on every node here."""
    return Account.from_mnemonic(SEED, account_path=f"m/44'/60'/0'/0/{number}")


class Node:
    """An Ethereum node; `anvil`, or `ganache` with its chain on disk so that it comes back after a restart."""

    def __init__(self, kind: str, *words: str) -> None:
        if shutil.which(kind) is None:
            pytest.skip(f"there is no {kind} here")
        self.kind, self.words, self.port = kind, words, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.mkdtemp(prefix="liggare-node-")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        port, chain = str(self.port), str(CHAIN_ID)
        if self.kind == "anvil":
            command = ["anvil", "--port", port, "--chain-id", chain, "--mnemonic", SEED, "--hardfork", "shanghai"]
            command += ["--gas-limit", "30000000", "--silent"]
        else:
            command = ["ganache", "--server.port", port, "--chain.chainId", chain, "--wallet.mnemonic", SEED]
            command += ["--chain.hardfork", "shanghai", "--miner.blockGasLimit", "30000000", "--logging.quiet"]
            command += ["--database.dbPath", self._folder]
        self.process = subprocess.Popen([*command, *self.words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.w3 = connect(self.url, CHAIN_ID)
                return
            except ChainError:
                assert time.monotonic() < deadline, f"{self.kind} does not start"
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop it, in good order."""
        self.process.terminate()
        self.process.wait(20)

    def close(self) -> None:
        """Stop it and forget its chain."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def rpc(self, method: str, *parameters):
        """Call it directly."""
        answer = self.w3.provider.make_request(method, list(parameters))
        assert "error" not in answer, answer
        return answer["result"]

    def deploy(self, folder: Path | None = None) -> Deployments:
        """Put the money there; its issuer is the first funded account."""
        issuer = funded(0)
        made = artifact("ZeroFeePayments")
        arguments = ["Liggare Krona", "LKR", issuer.address]
        constructor = self.w3.eth.contract(abi=made.abi, bytecode=made.bytecode).constructor(*arguments)
        receipt = Sender(self.w3, issuer).send(constructor)
        place = Deployment(
            receipt["contractAddress"],
            receipt["transactionHash"].to_0x_hex(),
            receipt["blockNumber"],
            arguments,
            made.source_hash,
        )
        genesis = self.w3.eth.get_block(0)["hash"].to_0x_hex()
        record = Deployments(CHAIN_ID, genesis, {"ZeroFeePayments": place})
        if folder is not None:
            record.save(folder)
        return record


@contextmanager
def node(kind: str, *words: str):
    """A node for the time of a block."""
    made = Node(kind, *words)
    try:
        yield made
    finally:
        made.close()


class Postgres:
    """A PostgreSQL server in a folder of its own, by an unprivileged user where the tests run as root."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        binary = found[-1] if found else shutil.which("postgres")
        if binary is None:
            pytest.skip("there is no PostgreSQL here (Debian's package `postgresql`)")
        self._binaries = Path(binary).parent
        self._folder = Path(tempfile.mkdtemp(prefix="liggare-postgres-"))
        self.port = free_port()
        self._as: dict = {}
        if os.getuid() == 0:
            who = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name))
            os.chown(self._folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        words = ["-A", "trust", "-U", "liggare", "-E", "UTF8", "--no-sync", "-D", self._folder / "data"]
        self._run(self._binaries / "initdb", *words)
        self.start()

    def _run(self, *command) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as)

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["-D", self._folder / "data", "-p", str(self.port), "-k", self._folder, "-h", "127.0.0.1"]
        self._process = subprocess.Popen(
            [self._binaries / "postgres", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **self._as,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self._connect().close()
                return
            except pg8000.Error:
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.1)

    def _connect(self):
        return pg8000.native.Connection("liggare", "127.0.0.1", "postgres", self.port)

    def stop(self) -> None:
        """Stop it at once: connections break, nothing that was committed is lost."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)

    def close(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def database(self, name: str) -> str:
        """Make an empty database; return its URL."""
        with closing(self._connect()) as connection:
            connection.run(f"CREATE DATABASE {name}")
        return f"postgresql://liggare@127.0.0.1:{self.port}/{name}"


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def wallet(number: int) -> LocalAccount:
    """Return a member without ether, by number."""
    return Account.from_key((number + 1).to_bytes(2, "big").rjust(32, b"\x07"))


def connected(url: str) -> Web3:
    """Return a connection of its own, for another thread."""
    return connect(url, CHAIN_ID)
