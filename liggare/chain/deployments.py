"""Where the contracts are: `deployments/<chain id>.json`, data that is verified against the chain.

    {"chainId": 1337, "genesis": "0x…", "contracts": {"<Name>": {
        "address": "0x…", "transaction": "0x…", "block": 4, "arguments": […], "sourceHash": "…"}}}

A record is believed only after `check`: the chain is the one named, each contract was made by
the transaction named, and that transaction's input is byte for byte this release's compiled
contract with the arguments named. So whoever trusts the sources can trust the record.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import BlockNotFound, TransactionNotFound

from liggare.chain.artifacts import artifact, names
from liggare.errors import DeploymentMismatch, DeploymentMissing, WrongChain
from liggare.messages import address

__all__ = ["Deployment", "Deployments"]


@dataclass(frozen=True)
class Deployment:
    """One contract on one chain."""

    address: ChecksumAddress
    transaction: str
    block: int
    arguments: list[Any]
    sourceHash: str


@dataclass(frozen=True)
class Deployments:
    """All contracts of the suite on one chain."""

    chain_id: int
    genesis: str
    contracts: dict[str, Deployment]

    @classmethod
    def load(cls, folder: Path, chain_id: int) -> Deployments:
        """Read the record of a chain. Raises DeploymentMissing, or DeploymentMismatch if malformed."""
        path = folder / f"{chain_id}.json"
        try:
            document = json.loads(path.read_text())
            contracts = {
                name: Deployment(**{**item, "address": address(item["address"])})
                for name, item in document["contracts"].items()
            }
            record = cls(int(document["chainId"]), str(document["genesis"]), contracts)
        except FileNotFoundError:
            raise DeploymentMissing(
                f"no record of chain {chain_id} at {path}; `brownie run deploy` deploys and writes one"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as exc:
            raise DeploymentMismatch(f"{path} is no deployment record: {exc!r}") from None
        if record.chain_id != chain_id:
            raise DeploymentMismatch(f"{path} is the record of chain {record.chain_id}, not {chain_id}")
        return record

    def save(self, folder: Path) -> Path:
        """Write the record, whole or not at all, and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.chain_id}.json"
        document = {
            "chainId": self.chain_id,
            "genesis": self.genesis,
            "contracts": {name: asdict(item) for name, item in self.contracts.items()},
        }
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(document, indent=2) + "\n")
        partial.replace(path)
        return path

    def check(self, w3: Web3) -> None:
        """Raise unless every contract on this chain is the one that the record and the sources say."""
        if (actual := w3.eth.chain_id) != self.chain_id:
            raise WrongChain(self.chain_id, actual)
        genesis = w3.eth.get_block(0)["hash"].to_0x_hex()
        if genesis != self.genesis:
            raise DeploymentMismatch(
                f"the record is of the chain with genesis {self.genesis}, this one has {genesis}:"
                " it was restarted or is another; deploy again"
            )
        for name, item in self.contracts.items():
            self._check_one(w3, name, item)

    def _check_one(self, w3: Web3, name: str, item: Deployment) -> None:
        if name not in names():
            raise DeploymentMismatch(f"{name} is no contract of this release")
        compiled = artifact(name)
        if item.sourceHash != compiled.source_hash:
            raise DeploymentMismatch(
                f"{name} was deployed from other sources ({item.sourceHash[:12]}…)"
                f" than this release's ({compiled.source_hash[:12]}…)"
            )
        try:
            receipt = w3.eth.get_transaction_receipt(HexBytes(item.transaction))
            sent = w3.eth.get_transaction(HexBytes(item.transaction))
        except (TransactionNotFound, BlockNotFound):
            raise DeploymentMismatch(f"{name}: the chain has no transaction {item.transaction}") from None
        if (receipt["contractAddress"], receipt["blockNumber"]) != (item.address, item.block):
            raise DeploymentMismatch(
                f"{name}: the record says {item.address} in block {item.block}, the chain"
                f" {receipt['contractAddress']} in block {receipt['blockNumber']}"
            )
        constructor = w3.eth.contract(abi=compiled.abi, bytecode=compiled.bytecode).constructor(*item.arguments)
        if HexBytes(sent["input"]) != HexBytes(constructor.data_in_transaction):
            raise DeploymentMismatch(f"{name}: the code at {item.address} is not this release's")
        if not w3.eth.get_code(item.address):
            raise DeploymentMismatch(f"{name}: there is no code at {item.address}")

    def contract(self, w3: Web3, name: str) -> Contract:
        """Return the contract, ready to call. Raises DeploymentMissing where the record lacks it."""
        if name not in self.contracts:
            raise DeploymentMissing(f"the record of chain {self.chain_id} has no {name}")
        return w3.eth.contract(address=self.contracts[name].address, abi=artifact(name).abi)
