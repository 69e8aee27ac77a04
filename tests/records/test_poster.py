"""Posting heads: in batches, on from what the chain has; after a kill and beside others, and never a fork."""

from __future__ import annotations

import time

import pytest

from liggare.errors import LogForked, SettingsError
from liggare.records.log import AccessLog
from liggare.records.poster import Poster
from liggare.records.tree import Head
from tests.records.releases import SECRET
from tests.support import isolated


@pytest.fixture
def release(desk, hospital, institute, give, anna, terms, accredited):
    """Make the next release of one of Anna's records to the institute."""
    share = give(anna, institute, terms)
    return lambda: desk.release(institute, anna.address, "Observation/1", shares=(share,))


@pytest.fixture
def url(tmp_path):
    """Where the log's database is."""
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def log(url, hospital, client):
    """The hospital's log, empty."""
    with AccessLog(url, hospital.address, client.domain, SECRET) as log:
        yield log


@pytest.fixture
def poster(log, client, hospital_sender):
    """Posts its heads when told to."""
    return Poster(log, client, hospital_sender)


def on_chain(client, hospital):
    return client.log_head(hospital.address)


def test_a_head_covers_all_that_is_written(log, poster, release, client, hospital):
    log.append([release(), release()])
    head = poster.post()
    assert head == log.head() == log.posted() == poster.on_chain()
    assert head.size == 3
    assert on_chain(client, hospital) == head.word
    assert poster.waiting() == 0


def test_nothing_is_posted_twice(log, poster, release, w3):
    assert poster.post() is None  # an empty log
    log.append([release()])
    assert poster.post().size == 2
    block = w3.eth.block_number
    assert poster.post() is None
    assert w3.eth.block_number == block


def test_heads_go_on_from_each_other(log, poster, release, client, hospital):
    heads = []
    for _ in range(3):
        log.append([release()])
        heads.append(poster.post())
    assert [head.size for head in heads] == [2, 4, 6]
    assert on_chain(client, hospital) == heads[-1].word


def test_only_the_custodian_posts(log, client, carrier):
    with pytest.raises(SettingsError, match="posted by itself"):
        Poster(log, client, carrier)


def test_what_was_posted_before_a_kill_is_noted_afterwards(
    log, poster, release, url, client, hospital_sender, hospital
):
    """Killed after the transaction, before the note: the next process finds the head on the chain and goes on."""
    log.append([release()])
    head = log.seal()
    client.post_log_head(hospital_sender, head.size, head.root)
    assert log.posted().size == 0
    log.close()
    with AccessLog(url, hospital.address, client.domain, SECRET) as again:
        poster = Poster(again, client, hospital_sender)
        assert poster.post() is None
        assert again.posted() == head
        again.append([release()])
        assert poster.post().size == 4


def test_what_was_sealed_before_a_kill_is_posted_afterwards(log, release, url, client, hospital_sender, hospital):
    log.append([release()])
    head = log.seal()
    log.close()
    with AccessLog(url, hospital.address, client.domain, SECRET) as again:
        assert Poster(again, client, hospital_sender).post() == head


def test_a_head_that_the_chain_forgot_is_posted_again(log, poster, release, client, hospital):
    log.append([release()])
    with isolated():
        head = poster.post()
    assert on_chain(client, hospital) == bytes(32)
    assert poster.post() == head
    assert on_chain(client, hospital) == head.word


def test_another_process_that_was_faster_is_no_fork(log, release, url, client, hospital_sender, hospital, monkeypatch):
    """The other posts between our look at the chain and our own transaction: ours is refused, and we look again."""
    with AccessLog(url, hospital.address, client.domain, SECRET) as other:
        mine, theirs = (Poster(each, client, hospital_sender) for each in (log, other))
        log.append([release()])
        seal = log.seal

        def late():
            head = seal()
            monkeypatch.setattr(log, "seal", seal)
            assert theirs.post() == head
            return head

        monkeypatch.setattr(log, "seal", late)
        assert mine.post() is None
        assert log.posted() == other.posted() == log.head()
        other.append([release()])
        assert theirs.post().size == 4
        assert mine.post() is None
        assert log.posted().size == 4


def test_a_head_on_the_chain_that_is_not_of_this_log_is_a_fork(log, poster, release, client, hospital_sender):
    log.append([release()])
    client.post_log_head(hospital_sender, 1, b"\x66" * 32)
    with pytest.raises(LogForked, match="not of this access log"):
        poster.post()
    client.post_log_head(hospital_sender, 9, b"\x66" * 32)
    with pytest.raises(LogForked, match="which has 1"):
        poster.post()
    assert log.posted() == Head(0, log.root(0))


def until(holds):
    for _ in range(400):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come")


def test_the_thread_posts_after_so_many_entries(log, release, client, hospital_sender):
    with Poster(log, client, hospital_sender, every=3, seconds=1000, pause=0.02):
        log.append([release(), release()])
        time.sleep(0.3)
        assert log.posted().size == 0
        log.append([release()])
        until(lambda: log.posted().size == 4)


def test_the_thread_posts_after_so_long(log, release, client, hospital_sender):
    with Poster(log, client, hospital_sender, every=1000, seconds=0.2, pause=0.02) as poster:
        log.append([release()])
        until(lambda: log.posted().size == 2)
        assert poster.waiting() == 0


def test_the_thread_goes_on_after_trouble(log, release, client, hospital_sender, monkeypatch):
    def down(_):
        raise ConnectionError("no node")

    log.append([release()])
    with monkeypatch.context() as node:
        node.setattr(client, "log_head", down)
        poster = Poster(log, client, hospital_sender, every=1, pause=0.02)
        poster.start()
        until(lambda: isinstance(poster.trouble, ConnectionError))
        assert log.posted().size == 0
    until(lambda: log.posted().size == 2)
    until(lambda: poster.trouble is None)
    poster.stop()
