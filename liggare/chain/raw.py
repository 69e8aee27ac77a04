"""Ask a node directly, where web3's formatting of thousands of logs or calls would take longer than the chain itself.

Answers are as JSON-RPC has them: hexadecimal text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from eth_utils.abi import function_abi_to_4byte_selector
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import Web3RPCError
from web3.types import RPCEndpoint

__all__ = ["ask", "call_all"]


def ask(w3: Web3, method: str, *parameters: Any) -> Any:
    """Return one request's result. Raises Web3RPCError where the node answers with an error."""
    answer = w3.provider.make_request(RPCEndpoint(method), list(parameters))
    return _result(answer)


def call_all(w3: Web3, function: ContractFunction, arguments: Sequence[Sequence[bytes]]) -> list[HexBytes]:
    """Call one view function once per row of arguments, each an ABI word of 32 bytes, in one request.

    Returns the answers' bytes in the order of the rows. Raises Web3RPCError.
    """
    if not arguments:
        return []
    head = "0x" + function_abi_to_4byte_selector(function.abi).hex()
    requests = [
        (RPCEndpoint("eth_call"), [{"to": function.address, "data": head + b"".join(row).hex()}, "latest"])
        for row in arguments
    ]
    answers = cast(Any, w3.provider).make_batch_request(requests)
    return [HexBytes(_result(answer)) for answer in answers]


def _result(answer: Any) -> Any:
    if answer.get("error") is not None:
        raise Web3RPCError(str(answer["error"]), rpc_response=answer)
    return answer["result"]
