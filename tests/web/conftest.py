"""The relay's service as it runs, over loopback, with an Anvil behind it."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
import uvicorn

from liggare.payments.cargo import PaymentCargo
from liggare.payments.client import Payments
from liggare.records.cargo import RecordCargo
from liggare.records.client import Records
from liggare.relay.intake import Intake
from liggare.relay.metrics import Metrics
from liggare.relay.outbox import Outbox
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits, Pace
from liggare.web.relay import Service, application
from scripts.nodes import free_port
from tests.energy.operator.town import anvil_town, town
from tests.nodes import funded
from tests.relay.conftest import RECORD_LIMITS, anvil, anvil_node, client, grant, isolation, pay, records, revoke

__all__ = ["anvil", "anvil_node", "anvil_town", "client", "grant", "isolation", "pay", "records", "revoke", "town"]


class Served:
    """A service that runs in a thread."""

    def __init__(self, service, app=None, port: int = 0) -> None:
        self.service = service
        port = port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(
            application(service) if app is None else app, port=port, log_config=None, timeout_graceful_shutdown=3
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Served:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *_) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the service does not stop"


@pytest.fixture
def serve(anvil, client, tmp_path):
    """Make a service: `with serve(per_account=3) as served:`; of the records too with `records=Limits(…)`."""

    def serve(database=None, w3=None, pace=None, records=None, **limits):
        outbox = Outbox(database or f"sqlite:///{tmp_path}/relay.db")
        payments = client if w3 is None else Payments(w3, anvil.record)
        cargo, metrics = PaymentCargo(payments), Metrics()
        of_records = RecordCargo(Records(payments.w3, anvil.record))
        cargoes = [cargo, of_records]
        relayer = Relayer(payments.w3, funded(1), outbox, cargoes, pace or Pace(wait=0.02), metrics=metrics)
        intake = Intake(outbox, cargo, Limits(**limits), relayer.price)
        carries = records and Intake(outbox, of_records, records, relayer.price)
        return Served(Service(outbox, intake, relayer, payments, metrics, carries))

    return serve


@pytest.fixture
def served(serve):
    """A service with ordinary limits, which carries records too."""
    with serve(records=RECORD_LIMITS) as made:
        yield made
    made.service.outbox.close()


@pytest.fixture
def http(served):
    """A client of it."""
    with httpx.Client(base_url=served.url, timeout=20) as made:
        yield made
