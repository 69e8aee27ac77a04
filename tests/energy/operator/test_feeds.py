"""Batches from a CSV file that grows and from a topic of a real Mosquitto: each is kept once, none is lost."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from liggare.energy.feeds import COLUMNS, CsvFeed, MqttFeed, Sink
from liggare.energy.figures import Figures
from liggare.errors import MarketUnavailable, SettingsError
from scripts.nodes import free_port
from tests.energy.operator.town import CIA, SUN

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Broker:
    """A Mosquitto on a free port; it may stop and start.

    It runs as whoever runs the tests: a broker that gives up root must read a folder that may be closed to others.
    """

    def __init__(self) -> None:
        if not Path(MOSQUITTO).exists():
            pytest.skip("there is no Mosquitto here (Debian's package `mosquitto`)")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="liggare-mosquitto-"))
        words = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence true"]
        words += [f"persistence_location {self.folder}/", f"log_dest file {self.folder}/log"]
        if os.getuid() == 0:
            words.append("user root")
        (self.folder / "mosquitto.conf").write_text("\n".join(words) + "\n")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "out").open("ab") as out:
            command = [MOSQUITTO, "-c", self.folder / "mosquitto.conf"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, cwd="/")
        deadline = time.monotonic() + 20
        while True:
            try:
                client = Client(CallbackAPIVersion.VERSION2)
                client.connect("127.0.0.1", self.port)
                client.disconnect()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    self._process.wait(20)
                    said = [
                        (self.folder / name).read_text() for name in ("out", "log") if (self.folder / name).exists()
                    ]
                    pytest.fail("Mosquitto does not start: " + "".join(said))
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in good order: it writes its sessions down."""
        self._process.terminate()
        self._process.wait(20)

    def close(self) -> None:
        """Stop it and forget everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self, topic: str, *payloads) -> None:
        """Publish as a meter does, and wait until the broker has them."""
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for payload in payloads:
            data = payload if isinstance(payload, bytes) else json.dumps(payload)
            client.publish(topic, data, qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def broker():
    """A broker of the test's own."""
    made = Broker()
    yield made
    made.close()


class Running:
    """A feed at work in a thread."""

    def __init__(self, feed) -> None:
        self.feed, self.stop = feed, threading.Event()
        self._thread = threading.Thread(target=feed.run, args=(self.stop,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def figures():
    """What is counted."""
    return Figures()


@pytest.fixture
def sink(desk, figures):
    """What takes batches."""
    return Sink(desk.intake, figures, desk.operator.wake)


def counted(figures, name: str, **labels) -> float:
    return figures.registry.get_sample_value(f"liggare_market_{name}_total", labels) or 0


def wait_for(done) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write(path: Path, signed, *, header: bool = True) -> None:
    """Append signed batches to a CSV file."""
    with path.open("a", newline="") as file:
        out = csv.DictWriter(file, COLUMNS)
        if header:
            out.writeheader()
        for item in signed.values():
            at = item.message
            values = (at.home, at.first_slot, at.imported, at.exported, "0x" + at.deltas.hex())
            out.writerow(dict(zip(COLUMNS, (*values, "0x" + item.signature.hex()), strict=True)))


def test_a_csv_file_that_grows(town, desk, sink, figures, tmp_path):
    path = tmp_path / "readings.csv"
    town.end_of(town.first + 1)
    with Running(CsvFeed(path, town.energy.domain, sink)):
        write(path, town.read(town.first))
        wait_for(lambda: counted(figures, "batches", source="csv") == 3)
        write(path, town.read(town.first + 1), header=False)
        wait_for(lambda: counted(figures, "batches", source="csv") == 6)
    desk.run(8)
    assert [each["volume"] for each in town.cleared().values()] == [800, 800]


def test_a_line_that_is_not_whole_yet_waits_and_a_bad_one_stops_nothing(town, desk, sink, figures, tmp_path):
    path, stop = tmp_path / "readings.csv", threading.Event()
    town.end_of(town.first)
    write(path, town.read(town.first))
    lines = path.read_text().splitlines(keepends=True)
    feed = CsvFeed(path, town.energy.domain, sink)
    path.write_text(lines[0] + "5,x\n" + "\n" + lines[1] + lines[2][:40])
    feed.read(stop)
    assert counted(figures, "batches", source="csv") == 1
    assert counted(figures, "refused", reason="Malformed") == 1
    path.write_text(lines[0] + "5,x\n" + "\n" + lines[1] + lines[2] + lines[3])
    feed.read(stop)
    assert counted(figures, "batches", source="csv") == 3
    assert set(desk.store.kept(town.first)) == set(SUN)


def test_a_file_read_again_from_its_beginning_keeps_nothing_twice(town, desk, sink, figures, tmp_path):
    path, stop = tmp_path / "readings.csv", threading.Event()
    town.end_of(town.first)
    write(path, town.read(town.first))
    for _ in range(2):
        CsvFeed(path, town.energy.domain, sink).read(stop)
    assert counted(figures, "batches", source="csv") == 3
    assert desk.store.counts()["readings"] == 3


def test_a_database_that_is_gone_loses_no_line(town, desk, sink, figures, tmp_path, monkeypatch):
    path = tmp_path / "readings.csv"
    town.end_of(town.first)
    write(path, town.read(town.first))

    def gone(*_):
        raise MarketUnavailable("gone")

    monkeypatch.setattr(desk.store, "keep", gone)
    with Running(CsvFeed(path, town.energy.domain, sink)):
        wait_for(lambda: counted(figures, "troubles") >= 1)
        monkeypatch.undo()
        wait_for(lambda: counted(figures, "batches", source="csv") == 3)
    assert set(desk.store.kept(town.first)) == set(SUN)


def test_an_mqtt_topic(town, desk, sink, figures, broker):
    town.end_of(town.first)
    anna, *others = town.documents(town.read(town.first))
    feed = MqttFeed(f"mqtt://127.0.0.1:{broker.port}/liggare/readings/#", "one", sink)
    with Running(feed):
        wait_for(lambda: feed.connected)
        time.sleep(0.3)
        broker.publish("liggare/readings/1", anna)
        broker.publish("liggare/readings/many", others)
        wait_for(lambda: counted(figures, "batches", source="mqtt") == 3)
    desk.run()
    assert town.cleared()[town.first]["volume"] == 800


def test_what_is_no_batch_stops_nothing(town, sink, figures, broker):
    town.end_of(town.first)
    documents = town.documents(town.read(town.first))
    feed = MqttFeed(f"mqtt://127.0.0.1:{broker.port}/liggare/readings/#", "two", sink)
    odd = [b"\xff", b"{", b"5", b"[[[", b"null", b"[" * 5000, {**documents[0], "chainId": 2}, b" " * 300_000]
    with Running(feed):
        wait_for(lambda: feed.connected)
        time.sleep(0.3)
        broker.publish("liggare/readings/1", *odd, *documents)
        wait_for(lambda: counted(figures, "batches", source="mqtt") == 3)
    assert counted(figures, "refused", reason="WrongChain") == 1
    assert counted(figures, "refused", reason="Malformed") == 7


def test_what_came_while_the_operator_was_dead_is_delivered(town, desk, sink, figures, broker):
    """The broker keeps the session; a message is acknowledged only when its batch is on the disk."""
    town.end_of(town.first)
    documents = town.documents(town.read(town.first))
    where = f"mqtt://127.0.0.1:{broker.port}/liggare/readings/#"
    feed = MqttFeed(where, "three", sink)
    with Running(feed):
        wait_for(lambda: feed.connected)
        time.sleep(0.3)
    broker.publish("liggare/readings/1", *documents)
    assert counted(figures, "batches", source="mqtt") == 0
    with Running(MqttFeed(where, "three", sink)):
        wait_for(lambda: counted(figures, "batches", source="mqtt") == 3)
    assert set(desk.store.kept(town.first)) == set(SUN)


def test_what_was_not_on_the_disk_when_the_operator_died_comes_again(town, desk, sink, figures, broker, monkeypatch):
    town.end_of(town.first)
    documents = town.documents(town.read(town.first))
    where = f"mqtt://127.0.0.1:{broker.port}/liggare/readings/#"

    def gone(*_):
        raise MarketUnavailable("gone")

    monkeypatch.setattr(desk.store, "keep", gone)
    feed = MqttFeed(where, "four", sink)
    with Running(feed):
        wait_for(lambda: feed.connected)
        time.sleep(0.3)
        broker.publish("liggare/readings/1", *documents)
        wait_for(lambda: counted(figures, "troubles") >= 1)
    monkeypatch.undo()
    assert desk.store.counts()["readings"] == 0
    with Running(MqttFeed(where, "four", sink)):
        wait_for(lambda: counted(figures, "batches", source="mqtt") == 3)


def test_a_broker_that_goes_and_comes_back(town, desk, sink, figures, broker):
    town.end_of(town.first)
    documents = town.documents(town.read(town.first))
    feed = MqttFeed(f"mqtt://127.0.0.1:{broker.port}/liggare/readings/#", "five", sink)
    with Running(feed):
        wait_for(lambda: feed.connected)
        broker.stop()
        wait_for(lambda: not feed.connected)
        broker.start()
        wait_for(lambda: feed.connected)
        time.sleep(0.3)
        broker.publish("liggare/readings/1", *documents)
        wait_for(lambda: counted(figures, "batches", source="mqtt") == 3)
    assert set(desk.store.kept(town.first)) == set(SUN)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/x", "mqtt://", "mqtt://127.0.0.1", "mqtt://127.0.0.1:99999/x", "mqtt://a:secret@127.0.0.1/x"],
)
def test_a_brokers_url_that_is_none(sink, url):
    with pytest.raises(SettingsError) as caught:
        MqttFeed(url, "six", sink)
    assert "secret" not in str(caught.value)


def test_a_refused_batch_is_named_in_the_log(town, sink, caplog, tmp_path):
    town.end_of(town.first)
    document = {**town.documents(town.read(town.first, homes=(CIA,)))[0], "signature": "0x" + "00" * 65}
    with caplog.at_level(logging.WARNING):
        assert sink.take("csv", document, threading.Event())
    assert "ForeignMeter" in caplog.text
