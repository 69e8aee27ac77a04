"""Nodes of one's own, in processes that may be stopped, killed and started again: for benchmarks and tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from liggare.chain.artifacts import artifact
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.sender import Sender
from liggare.errors import ChainError
from liggare.messages import address

SEED = "test test test test test test test test test test test junk"  # public: worthless by design
CHAIN_ID = 31337
KRONA = 10**6
Account.enable_unaudited_hdwallet_features()


def funded(number: int) -> LocalAccount:
    """Return an account that has ether on every node here."""
    return Account.from_mnemonic(SEED, account_path=f"m/44'/60'/0'/0/{number}")


class Node:
    """An Ethereum node; `anvil`, or `ganache` with its chain on disk so that it comes back after a restart."""

    def __init__(self, kind: str, *words: str, gas_limit: int = 30_000_000) -> None:
        self.kind, self.words, self.port, self.gas_limit = kind, words, free_port(), gas_limit
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.mkdtemp(prefix="liggare-node-")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        port, chain = str(self.port), str(CHAIN_ID)
        if self.kind == "anvil":
            command = ["anvil", "--port", port, "--chain-id", chain, "--mnemonic", SEED, "--hardfork", "shanghai"]
            command += ["--gas-limit", str(self.gas_limit), "--silent"]
        else:
            command = ["ganache", "--server.port", port, "--chain.chainId", chain, "--wallet.mnemonic", SEED]
            command += ["--chain.hardfork", "shanghai", "--miner.blockGasLimit", str(self.gas_limit), "--logging.quiet"]
            command += ["--database.dbPath", self._folder]
        self.process = subprocess.Popen([*command, *self.words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.w3 = connect(self.url, CHAIN_ID)
                return
            except ChainError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.kind} does not start") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop it, in good order."""
        hang_up(self.w3)
        self.process.terminate()
        self.process.wait(20)

    def close(self) -> None:
        """Stop it and forget its chain."""
        hang_up(self.w3)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def rpc(self, method: str, *parameters):
        """Call it directly."""
        answer = self.w3.provider.make_request(method, list(parameters))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def deploy(self, folder: Path | None = None, *, records: bool = False) -> Deployments:
        """Put the money there, if wanted the records too; issuer and accreditor is the first funded account."""
        owner = funded(0).address
        contracts = {"ZeroFeePayments": self._place("ZeroFeePayments", ["Liggare Krona", "LKR", owner])}
        if records:
            contracts["CareRegistry"] = self._place("CareRegistry", [owner])
            contracts["RecordAccess"] = self._place("RecordAccess", [contracts["CareRegistry"].address])
        genesis = self.w3.eth.get_block(0)["hash"].to_0x_hex()
        record = Deployments(CHAIN_ID, genesis, contracts)
        if folder is not None:
            record.save(folder)
        return record

    def _place(self, name: str, arguments: list[str]) -> Deployment:
        made = artifact(name)
        constructor = self.w3.eth.contract(abi=made.abi, bytecode=made.bytecode).constructor(*arguments)
        receipt = Sender(self.w3, funded(0)).send(constructor)
        return Deployment(
            address(str(receipt["contractAddress"])),
            receipt["transactionHash"].to_0x_hex(),
            receipt["blockNumber"],
            arguments,
            made.source_hash,
        )


def hang_up(w3: Web3) -> None:
    """Close the connections of a client, those of every thread: web3 leaves them to the garbage collector."""
    for session in list(w3.provider._request_session_manager.session_cache._data.values()):
        session.close()


@lru_cache(1024)
def wallet(number: int) -> LocalAccount:
    """Return a member without ether, by number."""
    return Account.from_key((number + 1).to_bytes(2, "big").rjust(32, b"\x07"))


def free_port() -> int:
    """Return a port that nothing listens on, so that no run ever attaches to a chain of another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
