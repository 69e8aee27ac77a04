"""Send transactions from one account: dry run, nonce under a lock, receipt, refusals by name.

function -> dry run (estimate) -> nonce -> sign -> send -> receipt -> status
"""

from __future__ import annotations

import threading
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, TimeExhausted, Web3RPCError, Web3ValueError
from web3.types import AccessList, TxParams, TxReceipt

from liggare.chain.artifacts import artifact, names
from liggare.errors import ChainError, ContractRefused, TransactionUncertain

__all__ = ["Sender", "refusal"]

RECEIPT_SECONDS = 120.0


class Sender:
    """The account that carries messages to the chain and pays the gas."""

    def __init__(self, w3: Web3, account: LocalAccount) -> None:
        self.w3, self.account = w3, account
        self._lock = threading.Lock()

    def send(
        self, function: ContractFunction, *, access_list: AccessList | None = None, timeout: float = RECEIPT_SECONDS
    ) -> TxReceipt:
        """Send a contract call and wait for its receipt, `timeout` seconds at most.

        `access_list` names the storage that it will touch (EIP-2930), which makes each place 100 gas cheaper.
        Raises ContractRefused, before anything is sent where the dry run shows it;
        TransactionUncertain where the receipt does not come.
        """
        with self._lock:
            try:
                fields: TxParams = {"from": self.account.address}
                if access_list:
                    fields["accessList"] = access_list
                fields["gas"] = self._gas(function, fields)
                fields["nonce"] = self.w3.eth.get_transaction_count(self.account.address, "pending")
                signed = self.account.sign_transaction(function.build_transaction(fields))  # type: ignore[arg-type]
                sent = self.w3.eth.send_raw_transaction(signed.raw_transaction)
            except (ContractLogicError, Web3RPCError, Web3ValueError) as exc:
                raise refusal(exc) from None
        try:
            receipt = self.w3.eth.wait_for_transaction_receipt(sent, timeout=timeout, poll_latency=0.02)
        except TimeExhausted:
            raise TransactionUncertain(sent.to_0x_hex(), timeout) from None
        if receipt["status"] != 1:
            raise self._why(function, receipt)
        return receipt

    def _gas(self, function: ContractFunction, fields: TxParams) -> int:
        """Return a gas limit: the estimate and a tenth, since state may move before the block."""
        estimate = function.estimate_gas(fields)
        limit = self.w3.eth.get_block("latest")["gasLimit"]
        return min(estimate * 11 // 10, limit)

    def _why(self, function: ContractFunction, receipt: TxReceipt) -> ChainError:
        """Return the reason of a transaction that passed the dry run and failed in its block."""
        try:
            function.call({"from": self.account.address}, receipt["blockNumber"])
        except (ContractLogicError, Web3RPCError, Web3ValueError) as exc:
            return refusal(exc)
        return ChainError(f"transaction {receipt['transactionHash'].to_0x_hex()} failed in its block")


def refusal(error: Exception) -> ChainError:
    """Turn a node's error into ContractRefused where it carries a custom error of our contracts."""
    data = _revert_data(error)
    if data is None or len(data) < 4:
        return ChainError(f"the node refused: {error}")
    for name in names():
        for item in artifact(name).abi:
            if item["type"] == "error" and function_abi_to_4byte_selector(item) == data[:4]:  # type: ignore[arg-type]
                inputs = item["inputs"]
                values = Web3().codec.decode([each["type"] for each in inputs], data[4:])
                arguments = {
                    each["name"]: to_checksum_address(value) if each["type"] == "address" else value
                    for each, value in zip(inputs, values, strict=True)
                }
                return ContractRefused(item["name"], arguments)
    return ContractRefused(f"0x{data[:4].hex()}")


def _revert_data(error: Exception) -> bytes | None:
    """Find the revert data wherever the node (Ganache, Anvil, Geth) put it."""
    response = getattr(error, "rpc_response", None) or {}
    candidates: list[Any] = [getattr(error, "data", None), response.get("error", {}).get("data")]
    for found in candidates:
        value = found.get("result", found.get("data")) if isinstance(found, dict) else found
        if isinstance(found, dict) and value == found.get("hash"):
            continue  # Ganache's word on a transaction that failed in its block: its hash is no reason
        if isinstance(value, str) and value.startswith("0x"):
            return bytes.fromhex(value[2:])
    return None
