"""The relay's service as it runs, over loopback, with an Anvil behind it."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
import uvicorn

from liggare.payments.cargo import PaymentCargo
from liggare.payments.client import Payments
from liggare.relay.intake import Intake
from liggare.relay.metrics import Metrics
from liggare.relay.outbox import Outbox
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits, Pace
from liggare.web.relay import Service, application
from scripts.nodes import free_port
from tests.energy.operator.town import anvil_town, town
from tests.nodes import funded
from tests.relay.conftest import anvil, anvil_node, client, isolation, pay

__all__ = ["anvil", "anvil_node", "anvil_town", "client", "isolation", "pay", "town"]


class Served:
    """A service that runs in a thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.url = f"http://127.0.0.1:{free_port()}"
        config = uvicorn.Config(
            application(service), port=int(self.url.rsplit(":")[-1]), log_config=None, timeout_graceful_shutdown=3
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
    """Make a service: `with serve(per_account=3) as served:`."""

    def serve(database=None, w3=None, pace=None, **limits):
        outbox = Outbox(database or f"sqlite:///{tmp_path}/relay.db")
        payments = client if w3 is None else Payments(w3, anvil.record)
        cargo, metrics = PaymentCargo(payments), Metrics()
        relayer = Relayer(payments.w3, funded(1), outbox, cargo, pace or Pace(wait=0.02), metrics=metrics)
        intake = Intake(outbox, cargo, Limits(**limits), relayer.price)
        return Served(Service(outbox, intake, relayer, payments, metrics))

    return serve


@pytest.fixture
def served(serve):
    """A service with ordinary limits."""
    with serve() as made:
        yield made
    made.service.outbox.close()


@pytest.fixture
def http(served):
    """A client of it."""
    with httpx.Client(base_url=served.url, timeout=20) as made:
        yield made
