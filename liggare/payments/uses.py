"""Uses of a nonce, read from the chain: who used it, where, and what moved.

Right behind `AuthorizationUsed` come the transfers that the signature paid for: one for a payment, several for a
bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_typing import ChecksumAddress, HexStr
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.exceptions import Web3RPCError
from web3.types import FilterParams, LogReceipt

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.errors import LedgerError

__all__ = ["Use", "Uses"]

CONTRACT = "ZeroFeePayments"


@dataclass(frozen=True)
class Use:
    """A nonce's use by `payer`: its transaction and block, and what it paid, (payee, units) in order."""

    payer: ChecksumAddress
    transaction: str
    block: int
    transfers: tuple[tuple[ChecksumAddress, int], ...]


class Uses:
    """Finds the uses of nonces in the money on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.money = deployments.contracts[CONTRACT]
        events = [item for item in artifact(CONTRACT).abi if item["type"] == "event"]
        self._topics = {item["name"]: event_abi_to_log_topic(item) for item in events}  # type: ignore[arg-type]

    def find(self, nonce: bytes, payer: str | None = None) -> list[Use]:
        """Return the nonce's uses, oldest first: at most one of `payer`'s, or those of all.

        Raises LedgerError where the node does not show its events.
        """
        who = None if payer is None else HexStr("0x" + payer[2:].lower().rjust(64, "0"))
        topics = [HexStr("0x" + self._topics["AuthorizationUsed"].hex()), who, HexStr("0x" + nonce.hex())]
        return [self._use(log) for log in self._logs(topics, self.money.block, self.w3.eth.block_number)]

    def _logs(self, topics: Sequence[HexStr | None], first: int, last: int) -> list[LogReceipt]:
        """Return the money's logs with these topics; a node that finds the range too long is asked for its halves."""
        asked: FilterParams = {"fromBlock": first, "toBlock": last, "address": self.money.address, "topics": topics}
        try:
            return list(self.w3.eth.get_logs(asked))
        except Web3RPCError as exc:
            if first >= last:
                raise LedgerError(f"the node refused to show block {first}: {exc}") from None
        middle = (first + last) // 2
        return [*self._logs(topics, first, middle), *self._logs(topics, middle + 1, last)]

    def _use(self, used: LogReceipt) -> Use:
        payer = _address(used["topics"][1])
        receipt = self.w3.eth.get_transaction_receipt(used["transactionHash"])
        logs = {log["logIndex"]: log for log in receipt["logs"]}
        transfers = []
        index = used["logIndex"] + 1
        while (log := logs.get(index)) and self._is_transfer_of(log, payer):
            transfers.append((_address(log["topics"][2]), int.from_bytes(log["data"], "big")))
            index += 1
        return Use(payer, used["transactionHash"].to_0x_hex(), used["blockNumber"], tuple(transfers))

    def _is_transfer_of(self, log: LogReceipt, payer: str) -> bool:
        return (
            log["address"] == self.money.address
            and log["topics"][0] == self._topics["Transfer"]
            and _address(log["topics"][1]) == payer
        )


def _address(topic: bytes) -> ChecksumAddress:
    return to_checksum_address(topic[-20:])
