"""x402 with our money: client, resource server and facilitator are the x402 package's own, unchanged.

    client -> GET -> 402 and what it costs -> signs ERC-3009 -> GET again -> verify -> served -> settle

All that is ours is the money's address and its EIP-712 name and version, which the price says.
"""

from __future__ import annotations

import base64
import json
import threading

import pytest
import requests
from brownie import ZeroFeePayments
from brownie import accounts as brownie_accounts
from eth_account import Account
from flask import Flask, jsonify, request
from werkzeug.serving import make_server
from x402 import x402ClientSync, x402FacilitatorSync, x402ResourceServerSync
from x402.http import FacilitatorConfig, HTTPFacilitatorClientSync, PaymentOption, RouteConfig
from x402.http.clients.requests import PaymentError, x402_requests
from x402.http.middleware.flask import payment_middleware
from x402.mechanisms.evm.exact import (
    register_exact_evm_client,
    register_exact_evm_facilitator,
    register_exact_evm_server,
)
from x402.mechanisms.evm.signers import EthAccountSigner, FacilitatorWeb3Signer
from x402.schemas.helpers import parse_payment_payload, parse_payment_requirements

from liggare.messages import Domain, address
from liggare.payments.client import Payments, random_nonce
from liggare.payments.messages import TransferWithAuthorization
from tests.support import now

KRONA = 10**6
PRICE = 1_250_000
NETWORK = "eip155:1337"


@pytest.fixture
def money(deployments, operator, anna):
    """The money; Anna has 10."""
    contract = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    contract.mint(anna.address, 10 * KRONA, {"from": operator})
    return contract


@pytest.fixture
def served():
    """Serve a Flask app on a free port until the test ends: `served(app)` returns its URL."""
    running = []

    def served(app):
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield served
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def facilitator_account():
    """Who settles and pays the gas: the facilitator's own key."""
    account = Account.from_key(b"\5" * 32)
    brownie_accounts[7].transfer(account.address, "1 ether")
    return account


@pytest.fixture
def facilitator(served, rpc_url, facilitator_account):
    """The package's facilitator behind the three routes that the x402 specification names; its URL."""
    signer = FacilitatorWeb3Signer(private_key=facilitator_account.key.hex(), rpc_url=rpc_url)
    theirs = register_exact_evm_facilitator(x402FacilitatorSync(), signer, networks=NETWORK)
    app = Flask("facilitator")

    def answer(action):
        asked = request.get_json()
        payload = parse_payment_payload(asked["paymentPayload"])
        requirements = parse_payment_requirements(asked["x402Version"], asked["paymentRequirements"])
        return jsonify(action(payload, requirements).model_dump(by_alias=True, exclude_none=True))

    app.post("/verify", endpoint="verify")(lambda: answer(theirs.verify))
    app.post("/settle", endpoint="settle")(lambda: answer(theirs.settle))
    supported = theirs.get_supported().model_dump(by_alias=True, exclude_none=True)
    app.get("/supported", endpoint="supported")(lambda: jsonify(supported))
    return served(app)


@pytest.fixture
def meanwhile():
    """What happens while the shop looks at the sky, between the check of a payment and its settlement."""
    return []


@pytest.fixture
def shop(served, facilitator, money, bo, meanwhile):
    """Bo's weather report behind the package's middleware: 1.25 a look; its URL."""
    app = Flask("shop")

    @app.get("/weather")
    def weather():
        for event in meanwhile:
            event()
        return jsonify({"weather": "sunny"})

    price = {
        "amount": str(PRICE),
        "asset": money.address,
        "extra": {"name": money.name(), "version": "1"},
    }
    option = PaymentOption(scheme="exact", pay_to=bo.address, price=price, network=NETWORK)
    server = x402ResourceServerSync(HTTPFacilitatorClientSync(FacilitatorConfig(url=facilitator)))
    register_exact_evm_server(server, NETWORK)
    payment_middleware(app, {"GET /weather": RouteConfig(accepts=option)}, server)
    return f"{served(app)}/weather"


@pytest.fixture
def paying(money):
    """The package's paying client of somebody: `paying(anna).get(url)`.

    It pays in assets that it knows by name; any other its owner allows, here with a cap for each payment.
    """

    def paying(account, cap=PRICE):
        allowed = {"network": NETWORK, "asset": money.address, "max_amount_per_payment": str(cap)}
        client = x402ClientSync().set_spend_controls({"allowed_assets": [allowed]})
        return x402_requests(register_exact_evm_client(client, EthAccountSigner(account)))

    return paying


def said(header: str):
    """What an x402 header says."""
    return json.loads(base64.b64decode(header))


def test_a_resource_is_paid_with_our_money(shop, paying, money, anna, bo, facilitator_account, w3):
    unpaid = requests.get(shop, timeout=30)
    assert unpaid.status_code == 402
    (offer,) = said(unpaid.headers["PAYMENT-REQUIRED"])["accepts"]
    assert (offer["scheme"], offer["network"], offer["asset"]) == ("exact", NETWORK, money.address)
    answer = paying(anna).get(shop, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"weather": "sunny"})
    assert (money.balanceOf(anna.address), money.balanceOf(bo.address)) == (10 * KRONA - PRICE, PRICE)
    settled = said(answer.headers["PAYMENT-RESPONSE"])
    assert settled["success"] is True
    sent = w3.eth.get_transaction(settled["transaction"])
    assert (sent["from"], sent["to"]) == (facilitator_account.address, money.address)
    assert w3.eth.get_balance(anna.address) == 0


def test_a_payment_buys_one_look(shop, paying, money, anna, bo):
    """The client's header again, as a thief of it would send it: nothing is served, nothing moves."""
    answer = paying(anna).get(shop, timeout=60)
    header = {"PAYMENT-SIGNATURE": answer.request.headers["PAYMENT-SIGNATURE"]}
    again = requests.get(shop, headers=header, timeout=60)
    assert again.status_code == 402
    assert "sunny" not in again.text
    assert money.balanceOf(bo.address) == PRICE


@pytest.mark.parametrize("member", ["value", "to", "from", "validBefore", "nonce"])
def test_an_altered_payment_buys_nothing(shop, money, anna, bo, cia, member, w3):
    """A payload signed as it should be, with one member altered on the way."""
    (offer,) = said(requests.get(shop, timeout=30).headers["PAYMENT-REQUIRED"])["accepts"]
    payload = signed_payload(anna, money, bo.address, offer)
    words = payload["payload"]["authorization"]
    other = {
        "value": str(PRICE + 1),
        "to": cia.address,
        "from": cia.address,
        "validBefore": str(int(words["validBefore"]) + 60),
        "nonce": "0x" + "77" * 32,
    }
    words[member] = other[member]
    answer = requests.get(shop, headers={"PAYMENT-SIGNATURE": header(payload)}, timeout=60)
    assert answer.status_code == 402
    assert "sunny" not in answer.text
    assert money.balanceOf(anna.address) == 10 * KRONA


def test_what_our_package_signs_is_taken(shop, money, anna, bo):
    """Not their client: our own `Payments.pay` message in x402's envelope."""
    (offer,) = said(requests.get(shop, timeout=30).headers["PAYMENT-REQUIRED"])["accepts"]
    payload = signed_payload(anna, money, bo.address, offer)
    answer = requests.get(shop, headers={"PAYMENT-SIGNATURE": header(payload)}, timeout=60)
    assert (answer.status_code, money.balanceOf(bo.address)) == (200, PRICE)


def test_who_spends_the_money_in_between_is_served_nothing(
    shop, paying, meanwhile, money, w3, deployments, anna, bo, cia, carrier
):
    payments = Payments(w3, deployments)
    meanwhile.append(lambda: payments.carry(payments.pay(anna, cia.address, 10 * KRONA), carrier))
    answer = paying(anna).get(shop, timeout=60)
    assert answer.status_code == 402
    assert "sunny" not in answer.text
    assert (money.balanceOf(cia.address), money.balanceOf(bo.address)) == (10 * KRONA, 0)


def test_who_has_no_money_is_served_nothing(shop, paying, money, mallory, bo):
    answer = paying(mallory).get(shop, timeout=60)
    assert answer.status_code == 402
    assert money.balanceOf(bo.address) == 0


def test_who_allows_less_than_the_price_signs_nothing(shop, paying, money, anna):
    with pytest.raises(PaymentError, match="spend_controls"):
        paying(anna, cap=PRICE - 1).get(shop, timeout=60)
    assert money.balanceOf(anna.address) == 10 * KRONA


def header(payload) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


def signed_payload(payer, money, payee, offer):
    """An x402 payload around a payment that our package signs."""
    domain = Domain(money.name(), "1", 1337, address(money.address))
    message = TransferWithAuthorization(domain, payer.address, payee, PRICE, 0, now() + 120, random_nonce())
    words = {name: value if isinstance(value, str) else str(value) for name, value in message.values().items()}
    words["nonce"] = "0x" + message.nonce.hex()
    signature = "0x" + message.sign(payer).signature.hex()
    return {"x402Version": 2, "accepted": offer, "payload": {"signature": signature, "authorization": words}}
