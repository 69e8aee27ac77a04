"""What the explorer's visitors run, by Node and against the chain of the tests."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest

from liggare.messages import address
from tests.conftest import isolation
from tests.energy.conftest import dora, empty_street, energy, market, street, trading
from tests.payments.conftest import carry, carry_bytes, client, domain, payment, payments
from tests.records.conftest import access
from tests.support import ROOT

__all__ = [
    "access", "carry", "carry_bytes", "client", "domain", "dora", "empty_street", "energy", "isolation", "market",
    "payment", "payments", "street", "trading",
]  # fmt: skip


OTHER = address("0x" + "a11ce".rjust(40, "0"))
"""Somebody who has nothing to do with it."""


def node(*items):
    """Run the checks' code by Node; `checks.mjs` says how to ask."""
    words = ["node", ROOT / "tests" / "checks.mjs"]
    ran = subprocess.run(words, input=json.dumps(items), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def receipts_lie(change):
    """A lie for a Proxy: the first receipt of a block is changed, in whichever way a node is asked for it."""

    def lie(asked, result):
        if asked == "eth_getBlockReceipts" and result:
            return [change(result[0]), *result[1:]]
        return change(result) if asked == "eth_getTransactionReceipt" else result

    return lie


@pytest.fixture
def check(rpc_url):
    """Run one check: `check("slot", claims)` returns its result and the last word of each step by name."""

    def check(kind, claims, url=None, file=None):
        item = {"do": "check", "kind": kind, "claims": claims, "url": url or rpc_url}
        if file is not None:
            item["file"] = base64.b64encode(file).decode()
        (answer,) = node(item)
        assert "error" not in answer, answer
        return answer["result"], answer["steps"]

    return check


@pytest.fixture
def chain_claims(deployments):
    """The claims that every page makes: chain, contract and its first block."""

    def chain_claims(contract):
        item = deployments.contracts[contract]
        return {"chain": str(deployments.chain_id), "contract": item.address, "block": str(item.block)}

    return chain_claims


@pytest.fixture
def payment_claims(chain_claims):
    """What a page says of a transaction's Transfer, the first or another."""

    def payment_claims(receipt, id_=None, number=0):
        logs = [log for log in receipt.logs if len(log["topics"]) == 3 and len(bytes(log["data"])) == 32]
        log = logs[number]
        who = [_checked(topic) for topic in log["topics"][1:]]
        claims = {"transaction": receipt.txid, "log": str(log["logIndex"]), "payer": who[0], "payee": who[1]}
        claims["value"] = str(int.from_bytes(bytes(log["data"]), "big"))
        return chain_claims("ZeroFeePayments") | claims | ({"id": id_.to_0x_hex()} if id_ is not None else {})

    return payment_claims


def _checked(topic):
    return address("0x" + bytes(topic).hex()[-40:])


@pytest.fixture
def slot_claims(chain_claims):
    """What a page says of a slot that a receipt cleared."""

    def slot_claims(receipt, fills, number=0):
        told = [event for event in receipt.events if event.name == "SlotCleared"][number]
        claims = {name: str(told[name]) for name in ("slot", "price", "lo", "hi", "volume")}
        shown = " ".join(f"{home}:{wh}" for home, wh in fills.items())
        return chain_claims("EnergyMarket") | claims | {"transaction": receipt.txid, "fills": shown}

    return slot_claims
