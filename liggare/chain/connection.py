"""Connect to a node and make sure that it serves the chain that was asked for."""

from __future__ import annotations

import time
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.providers import HTTPProvider

from liggare.errors import ChainUnreachable, WrongChain

__all__ = ["connect", "now"]

THREADS = 64
"""Connections to a node that are kept."""


def connect(url: str, chain_id: int | None = None, *, timeout: float = 30) -> Web3:
    """Return a connection to the node at `url`.

    `timeout` is per request, in seconds. Raises ChainUnreachable where nothing (or no Ethereum
    node) answers, WrongChain where the node serves another chain than `chain_id`.
    """
    words = {"timeout": timeout}
    w3 = Web3(HTTPProvider(url, request_kwargs=words, session=_session(url), exception_retry_configuration=None))
    try:
        actual = w3.eth.chain_id
    except requests.exceptions.ConnectionError:
        raise ChainUnreachable(url) from None
    except (requests.RequestException, Web3Exception, ValueError) as exc:
        raise ChainUnreachable(url, type(exc).__name__) from None
    if chain_id is not None and actual != chain_id:
        raise WrongChain(chain_id, actual)
    return w3


def _session(url: str) -> requests.Session:
    """Return what makes the requests of all threads; it keeps nothing of one for the next but the connection.

    What the environment says of proxies, certificates and passwords is looked up once: at each request that takes as
    long as the request.
    """
    session = requests.Session()
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
    session.auth = requests.utils.get_netrc_auth(url)
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=THREADS))
    return session


def now(w3: Web3) -> int:
    """Return the unix time by which messages are dated: the clock's, or the newest block's where that is ahead."""
    return max(int(time.time()), w3.eth.get_block("latest")["timestamp"])
