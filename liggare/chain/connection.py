"""Connect to a node and make sure that it serves the chain that was asked for."""

from __future__ import annotations

import time

import requests
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.providers import HTTPProvider

from liggare.errors import ChainUnreachable, WrongChain

__all__ = ["connect", "now"]


def connect(url: str, chain_id: int | None = None, *, timeout: float = 30) -> Web3:
    """Return a connection to the node at `url`.

    `timeout` is per request, in seconds. Raises ChainUnreachable where nothing (or no Ethereum
    node) answers, WrongChain where the node serves another chain than `chain_id`.
    """
    w3 = Web3(HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None))
    try:
        actual = w3.eth.chain_id
    except requests.exceptions.ConnectionError:
        raise ChainUnreachable(url) from None
    except (requests.RequestException, Web3Exception, ValueError) as exc:
        raise ChainUnreachable(url, type(exc).__name__) from None
    if chain_id is not None and actual != chain_id:
        raise WrongChain(chain_id, actual)
    return w3


def now(w3: Web3) -> int:
    """Return the unix time by which messages are dated: the clock's, or the newest block's where that is ahead."""
    return max(int(time.time()), w3.eth.get_block("latest")["timestamp"])
