"""The ids of payments that stand on the ledger: their events name payer and nonce, their calldata all that was signed.

    transaction -> its call of the money -> the messages that were signed -> their ids, by payer and nonce

What other contracts pay on (a purchase, a deposit of a home) has an id of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_abi_to_4byte_selector

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.errors import DataError
from liggare.ledger.rows import Row
from liggare.messages import SignedMessage, address
from liggare.payments.codec import decode
from liggare.payments.messages import (
    CancelAuthorization,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    money_domain,
)
from liggare.payments.rules import CONTRACT

__all__ = ["PaymentIds"]

KINDS = {
    "transferWithAuthorization": TransferWithAuthorization,
    "receiveWithAuthorization": ReceiveWithAuthorization,
}
WORDS = ("address", "address", "uint256", "uint256", "uint256", "bytes32")


class PaymentIds:
    """Finds the ids of one deployment's payments and cancellations (`liggare.ledger.follower.Ids`)."""

    def __init__(self, deployments: Deployments) -> None:
        self._domain = money_domain(deployments)
        self._functions = {
            function_abi_to_4byte_selector(each).hex(): each["name"]  # type: ignore[arg-type]
            for each in artifact(CONTRACT).abi
            if each["type"] == "function"
        }

    def wants(self, row: Row) -> bool:
        """Tell whether a row may have an id that only its transaction tells."""
        return row.contract == CONTRACT and row.event in (
            "AuthorizationUsed",
            "AuthorizationCanceled",
            "PaymentSkipped",
        )

    def of(self, transaction: Mapping[str, Any], rows: Sequence[Row]) -> dict[int, str]:
        """Return the ids, as 0x text by log index, of rows of a transaction, which is given as JSON-RPC has it.

        A row whose payer and nonce the calldata does not have stays without.
        """
        found: dict[tuple[str, bytes], str] = {}
        if str(transaction["to"]).lower() == self._domain.verifying_contract.lower():
            for payer, nonce, message in self._messages(transaction["input"]):
                found.setdefault((payer, nonce), message.id.to_0x_hex())
        ids = {row.log_index: found.get((_payer(row), row.arguments["nonce"])) for row in rows}
        return {place: id_ for place, id_ in ids.items() if id_ is not None}

    def _messages(self, calldata: str) -> Iterator[tuple[str, bytes, SignedMessage]]:
        """Yield payer, nonce and message of what a call of the money carries; nothing where it is of no such form."""
        name, words = self._functions.get(calldata[2:10]), bytes.fromhex(calldata[10:])
        try:
            if name in KINDS:
                payer, to, value, after, before, nonce = decode_abi(WORDS, words[:192])
                payer = address(payer)
                yield payer, nonce, KINDS[name](self._domain, payer, address(to), value, after, before, nonce)
            elif name == "cancelAuthorization":
                payer, nonce = decode_abi(("address", "bytes32"), words[:64])
                yield address(payer), nonce, CancelAuthorization(self._domain, address(payer), nonce)
            elif name == "payBatch":
                (batch,) = decode_abi(("bytes",), words)
                for item in decode(batch, self._domain):
                    yield item.message.from_, item.message.nonce, item.message
        except (DecodingError, DataError, OverflowError):
            return


def _payer(row: Row) -> str:
    return str(row.arguments["from" if row.event == "PaymentSkipped" else "authorizer"])
