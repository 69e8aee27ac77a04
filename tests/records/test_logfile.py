"""The log in its file, until it goes away."""

from __future__ import annotations

import os

import pytest

from liggare.errors import LogDamaged
from liggare.records.log import canonical
from liggare.records.logfile import LogFile
from liggare.records.tree import Tree, leaf_hash


def test_an_entry_is_on_the_disk_before_append_returns(tmp_path, monkeypatch):
    synced = []
    with LogFile(tmp_path / "log") as log:
        monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "log").read_bytes()))
        assert log.append({"b": 1, "a": "å"}) == 0
        assert synced == [b'{"a":"\\u00e5","b":1}\n']


def test_an_entry_that_the_disk_did_not_take_is_not_in_the_log(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left")

    with LogFile(tmp_path / "log") as log:
        log.append({"n": 1})
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            with pytest.raises(LogDamaged, match="no space left"):
                log.append({"n": 2})
        assert log.entries == [{"n": 1}]
        with pytest.raises(LogDamaged):  # closed: whoever goes on must read the file again
            log.append({"n": 3})
    with LogFile(tmp_path / "log") as log:
        assert log.entries == [{"n": 1}]


def test_a_log_goes_on_where_it_stopped(tmp_path):
    with LogFile(tmp_path / "log") as log:
        log.append({"n": 1})
        log.append({"n": 2})
        root = log.tree.root()
    with LogFile(tmp_path / "log") as log:
        assert log.entries == [{"n": 1}, {"n": 2}]
        assert log.tree.root() == root == Tree([canonical({"n": 1}), canonical({"n": 2})]).root()
        assert log.tree.leaf(1) == leaf_hash(b'{"n":2}')


def test_a_torn_last_line_is_cut_off(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"n":1}\n{"n":2')
    with LogFile(path) as log:
        assert log.entries == [{"n": 1}]
    assert path.read_bytes() == b'{"n":1}\n'


@pytest.mark.parametrize("line", [b"what", b'{"n": 1}', b"[1]", b""])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "log"
    path.write_bytes(b'{"n":1}\n' + line + b"\n")
    for _ in range(2):  # and the file is let go of
        with pytest.raises(LogDamaged, match="entry 1"):
            LogFile(path)


def test_two_processes_cannot_write_one_log(tmp_path):
    with LogFile(tmp_path / "log"), pytest.raises(LogDamaged, match="another process"):
        LogFile(tmp_path / "log")
