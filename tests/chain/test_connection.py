"""Connecting: to the chain that was asked for, or a clear word why not."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from liggare.chain.connection import connect, now
from liggare.errors import ChainUnreachable, WrongChain
from scripts.nodes import free_port
from tests.support import pass_time


class Shop(BaseHTTPRequestHandler):
    """A web server that is no Ethereum node."""

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, *words):
        pass


@pytest.fixture
def shop():
    """Where that server answers."""
    server = HTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_chain_that_was_asked_for(rpc_url):
    assert connect(rpc_url, 1337).eth.chain_id == 1337


def test_another_chain_is_refused(rpc_url):
    with pytest.raises(WrongChain) as caught:
        connect(rpc_url, 5)
    assert (caught.value.expected, caught.value.actual) == (5, 1337)


def test_where_nothing_answers():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ChainUnreachable, match=url):
        connect(url)


def test_where_something_else_answers(shop):
    with pytest.raises(ChainUnreachable, match=shop):
        connect(shop)


def test_time_is_the_chains_where_that_is_ahead(w3):
    assert now(w3) >= int(time.time()) - 1
    pass_time(100_000)
    assert now(w3) == w3.eth.get_block("latest")["timestamp"] > time.time() + 90_000
