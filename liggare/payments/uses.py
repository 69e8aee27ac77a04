"""Uses of a nonce, read from the chain: who used it, where, and what moved.

Right behind `AuthorizationUsed` come the transfers that the signature paid for: one for a payment, several for a
bundle.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3 import Web3
from web3.exceptions import Web3RPCError

from liggare.chain.deployments import Deployments
from liggare.chain.raw import ask
from liggare.errors import LedgerError
from liggare.messages import address

__all__ = ["Use", "Uses"]

CONTRACT = "ZeroFeePayments"
USED = Web3.keccak(text="AuthorizationUsed(address,bytes32)").to_0x_hex()
TRANSFER = Web3.keccak(text="Transfer(address,address,uint256)").to_0x_hex()


@dataclass(frozen=True)
class Use:
    """The use of `nonce` by `payer`: its transaction and block, and what it paid, (payee, units) in order."""

    payer: ChecksumAddress
    nonce: bytes
    transaction: str
    block: int
    transfers: tuple[tuple[ChecksumAddress, int], ...]


class Uses:
    """Finds the uses of nonces in the money on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.money = deployments.contracts[CONTRACT]

    def find(self, nonce: bytes, payer: str | None = None) -> list[Use]:
        """Return the nonce's uses, oldest first: at most one of `payer`'s, or those of all.

        Raises LedgerError where the node does not show its events.
        """
        return self._find(None if payer is None else [_topic(payer)], ["0x" + nonce.hex()])

    def find_all(self, nonces: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], Use]:
        """Return the uses of many nonces, each with its payer, in one request. Raises LedgerError."""
        if not nonces:
            return {}
        payers = [*dict.fromkeys(_topic(payer) for payer, _ in nonces)]
        found = self._find(payers, [*dict.fromkeys("0x" + nonce.hex() for _, nonce in nonces)])
        by_nonce = {(use.payer, use.nonce): use for use in found}
        # the node was asked for every payer with every nonce
        return {pair: by_nonce[pair] for pair in nonces if pair in by_nonce}

    def _find(self, payers: list[str] | None, nonces: list[str]) -> list[Use]:
        logs = self._logs([USED, payers, nonces], self.money.block, self.w3.eth.block_number)
        receipts: dict[str, dict[int, Any]] = {}
        return [self._use(log, receipts) for log in logs]

    def _logs(self, topics: Sequence[Any], first: int, last: int) -> list[Any]:
        """Return the money's logs with these topics; a node that finds the range too long is asked for its halves."""
        asked = {"fromBlock": hex(first), "toBlock": hex(last), "address": self.money.address, "topics": topics}
        try:
            return list(ask(self.w3, "eth_getLogs", asked))
        except Web3RPCError as exc:
            if first >= last:
                raise LedgerError(f"the node refused to show block {first}: {exc}") from None
        middle = (first + last) // 2
        return [*self._logs(topics, first, middle), *self._logs(topics, middle + 1, last)]

    def _use(self, used: Any, receipts: dict[str, dict[int, Any]]) -> Use:
        """Return one use; `receipts` keeps the logs of transactions that were fetched already."""
        transaction = used["transactionHash"]
        if transaction not in receipts:
            logs = ask(self.w3, "eth_getTransactionReceipt", transaction)["logs"]
            receipts[transaction] = {int(log["logIndex"], 16): log for log in logs}
        logs, transfers = receipts[transaction], []
        index = int(used["logIndex"], 16) + 1
        while (log := logs.get(index)) and self._is_transfer_of(log, used["topics"][1]):
            transfers.append((_address(log["topics"][2]), int(log["data"], 16)))
            index += 1
        payer, nonce = _address(used["topics"][1]), bytes.fromhex(used["topics"][2][2:])
        return Use(payer, nonce, transaction, int(used["blockNumber"], 16), tuple(transfers))

    def _is_transfer_of(self, log: Any, payer: str) -> bool:
        return address(log["address"]) == self.money.address and log["topics"][:2] == [TRANSFER, payer]


def _topic(account: str) -> str:
    return "0x" + account[2:].lower().rjust(64, "0")


def _address(topic: str) -> ChecksumAddress:
    return address("0x" + topic[-40:])
