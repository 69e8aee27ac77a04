"""Batches of readings from elsewhere than HTTP: a CSV file that grows, an MQTT topic. They pass the same intake.

A line or a message is done with when its batch is on the disk or refused by name; where node or database do not answer
it is taken again. What was taken before is known by its id, so a file may be read from its beginning after a restart.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import queue
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from web3.exceptions import Web3Exception

from liggare.energy.figures import Figures
from liggare.energy.intake import Intake
from liggare.energy.wire import read
from liggare.errors import ChainError, MarketRefused, MarketUnavailable, SettingsError
from liggare.messages import Domain

__all__ = ["COLUMNS", "CsvFeed", "MqttFeed", "Sink"]

log = logging.getLogger(__name__)

COLUMNS = ("home", "firstSlot", "imported", "exported", "deltas", "signature")
PASSING = (MarketUnavailable, ChainError, Web3Exception, requests.RequestException)
"""Trouble that is not the batch's fault."""
LARGEST = 256 * 1024
"""Bytes of an MQTT message."""
QUALITY = 1
"""MQTT's quality of service: delivered at least once."""


class Sink:
    """Hands documents to the intake until each is kept or refused."""

    def __init__(self, intake: Intake, figures: Figures, wake: Callable[[], None]) -> None:
        self._intake, self._figures, self._wake = intake, figures, wake

    def take(self, source: str, document: Any, stop: threading.Event) -> bool:
        """Take one batch; False where it was told to stop before it was kept or refused."""
        while not stop.is_set():
            try:
                (taken,) = self._intake.readings([read(document)])
            except MarketRefused as exc:
                taken = exc
            except PASSING as exc:
                self._figures.troubles.inc()
                log.warning("%s waits: %s", source, type(exc).__name__)
                stop.wait(1)
                continue
            if isinstance(taken, MarketRefused):
                self._figures.refused.labels(taken.reason).inc()
                log.warning("%s: a batch is refused: %s (%s)", source, taken, taken.reason)
            elif taken.new:
                self._figures.batches.labels(source).inc()
                self._wake()
            return True
        return False


class CsvFeed:
    """A file of signed batches with the columns home, firstSlot, imported, exported, deltas, signature; it may grow."""

    def __init__(self, path: Path, domain: Domain, sink: Sink) -> None:
        self._path, self._domain, self._sink = path, domain, sink
        self._place = 0
        self._names: list[str] | None = None

    def run(self, stop: threading.Event, pause: float = 1.0) -> None:
        """Read what is there and what comes, until told to stop."""
        while not stop.is_set():
            try:
                self.read(stop)
            except (OSError, UnicodeDecodeError, csv.Error) as exc:
                log.warning("the readings %s can't be read: %s", self._path, exc)
            stop.wait(pause)

    def read(self, stop: threading.Event) -> None:
        """Take the lines that are new and whole."""
        if not self._path.exists():
            return
        if self._path.stat().st_size < self._place:
            self._place, self._names = 0, None  # another file of the same name
        with self._path.open("rb") as file:
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n") or not self._line(line.decode(), stop):
                    return
                self._place += len(line)

    def _line(self, line: str, stop: threading.Event) -> bool:
        values = next(csv.reader([line.rstrip("\r\n")]), [])
        if self._names is None:
            self._names = values
            return True
        if not values:
            return True
        at: dict[str, Any] = dict(zip(self._names, values, strict=False))
        signature = at.pop("signature", None)
        body = {name: at[name] for name in COLUMNS if name in at}
        envelope = {"chainId": self._domain.chain_id, "contract": self._domain.verifying_contract}
        return self._sink.take("csv", {**envelope, "readings": body, "signature": signature}, stop)


class MqttFeed:
    """A topic on an MQTT broker.

    A message is acknowledged once its batches are on the disk or refused, so a broker that keeps this client's session
    loses none of them, whenever the operator dies.
    """

    def __init__(self, url: str, name: str, sink: Sink, *, password: str | None = None) -> None:
        """`url` is mqtt(s)://[user@]host[:port]/topic; `name` is the session's. Raises SettingsError."""
        parts = urlsplit(url)
        try:
            port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        except ValueError:
            port = 0
        self._topic = unquote(parts.path.lstrip("/")) + (f"#{parts.fragment}" if url.endswith("#") else "")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not self._topic or not port:
            raise SettingsError("the broker's URL is none, such as mqtt://127.0.0.1:1883/liggare/readings/#")
        if parts.password is not None:
            raise SettingsError(
                "a password in the broker's URL can be read by others: give it by LIGGARE_MQTT_PASSWORD"
            )
        self._where, self._sink = (parts.hostname, port), sink
        id_ = "liggare-" + hashlib.sha256(name.encode()).hexdigest()[:15]  # 23 characters: every broker takes so many
        self._client = Client(CallbackAPIVersion.VERSION2, id_, clean_session=False, manual_ack=True)
        if parts.scheme == "mqtts":
            self._client.tls_set(cert_reqs=ssl.CERT_REQUIRED)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), password)
        self._client.on_connect = self._connected
        self._client.on_message = self._came
        self._waiting: queue.Queue[MQTTMessage] = queue.Queue()
        self.connected = False

    def _connected(self, client: Client, _: Any, __: Any, code: Any, ___: Any) -> None:
        self.connected = not code.is_failure
        if self.connected:
            client.subscribe(self._topic, QUALITY)
        else:
            log.warning("the broker refuses: %s", code)

    def _came(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._waiting.put(message)

    def run(self, stop: threading.Event) -> None:
        """Take messages until told to stop; a broker that is gone is asked again."""
        self._client.reconnect_delay_set(1, 5)
        self._client.on_disconnect = lambda *_: setattr(self, "connected", False)
        self._client.connect_async(*self._where, keepalive=20)
        self._client.loop_start()
        while not stop.is_set():
            try:
                message = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            if (
                self._take(message, stop)
                and self._client.ack(message.mid, message.qos) != MQTTErrorCode.MQTT_ERR_SUCCESS
            ):
                log.info("a message could not be acknowledged: it comes again")
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, message: MQTTMessage, stop: threading.Event) -> bool:
        given = None
        try:
            if len(message.payload) <= LARGEST:
                given = json.loads(message.payload)
        except (ValueError, RecursionError):
            log.warning("mqtt: a message on %s is no JSON", message.topic)
        documents = given if isinstance(given, list) else [given]
        return all(self._sink.take("mqtt", document, stop) for document in documents)
