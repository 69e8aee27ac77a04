"""The ledger in memory: as fresh as the node, as the contracts say, and closed where the node can't be believed."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from liggare.errors import DeploymentMissing, LedgerUnavailable
from liggare.records import cache as cache_module
from liggare.records.cache import AccessCache
from liggare.records.categories import CATEGORIES
from liggare.records.client import Records, Refusal
from liggare.records.messages import Terms
from tests.nodes import Proxy, free_port, funded, node
from tests.records.conftest import EVER, SALT, category, organisation, purpose
from tests.support import FOREVER, now, rpc

OBSERVATION, TREAT = category("Observation"), purpose("TREAT")
TERMS = Terms.of(["Observation", "Condition"], ["TREAT", "HRESCH"], 0, EVER)


def ask(view, share, reader=None, category=OBSERVATION, purpose=TREAT):
    return view.why_not(share, category, purpose, reader=reader or share.grantee)


# ---------------------------------------------------------------------- decisions, on the suite's chain


@pytest.fixture
def cache(w3, deployments):
    """A cache of the suite's chain that has read nothing yet, with the chain's own time."""
    return AccessCache(w3, deployments, clock=lambda: 0)


def test_a_grant_and_its_end_are_seen_at_once(cache, accredited, give, client, carrier, anna, hospital):
    share = give(anna, hospital, TERMS)
    before = cache.fresh()
    assert ask(before, share) is Refusal.NOTHING
    client.carry(client.revoke(anna, hospital.address, SALT), carrier)
    assert ask(cache.fresh(), share) is Refusal.REVOKED
    assert ask(before, share) is Refusal.NOTHING  # a view is of one moment
    block = client.newest()
    after = cache.fresh()
    assert (after.number, after.block_hash) == (block["number"], block["hash"].to_0x_hex())
    assert after.time == after.block_time == block["timestamp"]


def test_an_end_of_everything_is_seen_at_once(cache, accredited, give, client, carrier, anna, hospital):
    share = give(anna, hospital, TERMS)
    client.carry(client.revoke_all(anna), carrier)
    assert ask(cache.fresh(), share) is Refusal.ALL_REVOKED


def test_what_happens_to_an_organisation_is_seen_at_once(cache, accredited, operator, give, anna, hospital):
    share = give(anna, hospital, TERMS)
    accredited.suspend(hospital.address, {"from": operator})
    assert ask(cache.fresh(), share) is Refusal.GRANTEE_SUSPENDED
    accredited.resume(hospital.address, {"from": operator})
    accredited.accredit(hospital.address, 1, category("Condition"), 0, FOREVER, 0, {"from": operator})
    assert ask(cache.fresh(), share) is Refusal.BEYOND_CAP


def test_another_reader_than_the_one_granted_reads_nothing(cache, accredited, give, anna, hospital, institute):
    share = give(anna, hospital, TERMS)
    assert ask(cache.fresh(), share, reader=institute.address) is Refusal.NO_GRANT
    assert ask(cache.fresh(), share, reader=hospital.address.lower()) is Refusal.NOTHING


def test_a_share_of_another_chain_or_contract_opens_nothing(cache, accredited, give, anna, hospital, bo):
    share = give(anna, hospital, TERMS)
    for changed in ({"chain_id": 5}, {"contract": bo.address}):
        assert ask(cache.fresh(), type(share)(**{**vars(share), **changed})) is Refusal.NO_GRANT


def test_what_ends_has_ended_by_the_clock_and_what_begins_waits_for_a_block(w3, deployments, accredited, give, anna):
    ahead = now() + 1000
    cache = AccessCache(w3, deployments, clock=lambda: ahead)
    hospital = organisation("hospital")
    terms = {1: (0, ahead), 2: (0, ahead + 1), 3: (ahead - 1, EVER)}
    shares = {
        number: give(anna, hospital, Terms.of(["Observation"], ["TREAT"], *times), salt=bytes([number]) * 32)
        for number, times in terms.items()
    }
    view = cache.fresh()
    assert view.time == ahead > view.block_time
    found = [ask(view, share) for share in shares.values()]
    assert found == [Refusal.EXPIRED, Refusal.NOTHING, Refusal.NOT_YET]


def test_a_view_says_what_the_contract_says(cache, client, carrier, registry, operator, w3):
    """Random grants, revokes and accreditations, asked in random ways at random times: never another word."""
    dice = random.Random(20261125)
    patients = [organisation(f"patient {number}") for number in range(3)]
    readers = [organisation(f"reader {number}").address for number in range(4)]
    bits = [1 << bit for bit in CATEGORIES.values()][:6]
    start = now()
    shares, told = [], set()

    def some(choice):
        return sum(dice.sample(choice, dice.randint(1, len(choice))))

    def accredit(who):
        begin = now() + dice.choice([-100, -100, -100, 200])
        words = 8, some(bits), begin, begin + dice.choice([500, 5000]), 0
        registry.accredit(who, *words, {"from": operator})

    def offered(share):
        return (share.terms.categories, bits), (share.terms.purposes, [1, 2, 4])

    for who in readers[:3]:
        accredit(who)
    for _ in range(80):
        step = dice.random()
        if step < 0.6 or not shares:
            begin = start + dice.choice([-500, 0, 100, 300])
            terms = Terms(some(bits), some([1, 2, 4]), begin, begin + dice.choice([1, 500, 10**6, 10**6]))
            salt = bytes([dice.randint(0, 1)]) * 32
            signed, share = client.grant(dice.choice(patients), dice.choice(readers), salt, terms)
            client.carry(signed, carrier)
            shares.append(share)
        elif step < 0.75:
            share = dice.choice(shares)
            patient = next(each for each in patients if each.address == share.patient)
            client.carry(client.revoke(patient, share.grantee, share.salt), carrier)
        elif step < 0.8:
            client.carry(client.revoke_all(dice.choice(patients)), carrier)
        elif step < 0.9:
            who = dice.choice(readers[:3])
            suspended = client.organisation(who).suspended
            (registry.resume if suspended else registry.suspend)(who, {"from": operator})
        else:
            accredit(dice.choice(readers[:3]))
        if dice.random() < 0.3:
            rpc("evm_increaseTime", dice.randint(1, 120))
            rpc("evm_mine")
        view = cache.fresh()
        for _ in range(6):
            share = dice.choice(shares)
            asked = [dice.choice([whole, whole & -whole, some(of)]) for whole, of in offered(share)]
            if dice.random() < 0.1:
                asked[dice.randint(0, 1)] = 0
            reader = dice.choice([share.grantee, share.grantee, dice.choice(readers)])
            expected = client.why_not(share, *asked, grantee=reader, block=view.number)
            assert view.why_not(share, *asked, reader=reader) is expected
            told.add(expected)
    assert told >= set(Refusal) - {reason for reason in Refusal if reason > Refusal.BEYOND_CAP}


# ---------------------------------------------------------------------- asking at the same time


def test_who_ask_at_the_same_time_share_one_question(rpc_url, deployments, accredited, give, anna, hospital):
    proxy = Proxy(rpc_url)
    cache = AccessCache(connect(proxy.url), deployments)
    share = give(anna, hospital, TERMS)
    cache.fresh()
    proxy.asked.clear()
    proxy.wait = 0.5
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(cache.fresh)
        time.sleep(0.2)
        rpc("evm_mine")
        others = [pool.submit(cache.fresh) for _ in range(15)]
        views = [other.result() for other in others]
    assert len({view.number for view in views}) == 1
    assert views[0].number == now_number() > first.result().number  # the first one's question was too early for them
    assert proxy.asked["eth_chainId"] == 2
    assert ask(views[0], share) is Refusal.NOTHING
    proxy.close()


def now_number():
    return int(rpc("eth_blockNumber"), 16)


def test_a_question_that_fails_fails_for_all_who_share_it_and_for_nobody_else(rpc_url, deployments):
    proxy = Proxy(rpc_url)
    cache = AccessCache(connect(proxy.url), deployments)
    cache.fresh()
    proxy.wait, proxy.lie = 0.3, lambda method, result: True if method == "eth_syncing" else result
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.fresh) for _ in range(8)]
        errors = [each.exception() for each in asked]
    assert all(isinstance(error, LedgerUnavailable) for error in errors)
    assert len({id(error) for error in errors}) == 8
    proxy.wait, proxy.lie = 0, None
    assert cache.fresh()
    proxy.close()


def test_nobody_reads_by_a_grant_that_was_revoked_before_the_question(
    w3, deployments, accredited, client, carrier, anna, hospital
):
    """16 threads ask all the time, while grants are made and revoked."""
    cache = AccessCache(w3, deployments)
    revoked, wrong, asked, over = [], [], [], threading.Event()

    def reader():
        while not over.is_set():
            ended = len(revoked)
            view = cache.fresh()
            asked.append(ended)
            wrong.extend(share for share in revoked[:ended] if ask(view, share) is not Refusal.REVOKED)

    with ThreadPoolExecutor(16) as pool:
        threads = [pool.submit(reader) for _ in range(16)]
        try:
            for number in range(25):
                signed, share = client.grant(anna, hospital.address, bytes([number]) * 32, TERMS)
                client.carry(signed, carrier)
                assert ask(cache.fresh(), share) is Refusal.NOTHING
                client.carry(client.revoke(anna, hospital.address, share.salt), carrier)
                revoked.append(share)
        finally:
            over.set()
        for thread in threads:
            thread.result()
    assert wrong == []
    assert len(set(asked)) > 20  # they did ask between the revokes


# ---------------------------------------------------------------------- nodes of one's own


class World:
    """A chain of one's own with the records on it, a patient and a hospital; the node is asked through a proxy."""

    def __init__(self, made):
        self.node = made
        self.record = made.deploy(records=True)
        self.client = Records(made.w3, self.record, clock=lambda: 0)
        self.sender = Sender(made.w3, funded(0))
        self.patient, self.hospital = organisation("patient"), organisation("hospital").address
        self.client.accredit(self.sender, self.hospital, ["provider"], CATEGORIES, 0, FOREVER)
        self.proxy = Proxy(made.url)

    def cache(self, timeout=30, **words):
        """Return a cache that has read nothing."""
        return AccessCache(connect(self.proxy.url, timeout=timeout), self.record, **words)

    def give(self, number=1):
        """Let the patient grant."""
        signed, share = self.client.grant(self.patient, self.hospital, bytes([number]) * 32, TERMS)
        self.client.carry(signed, self.sender)
        return share

    def end(self, share):
        """Let the patient revoke."""
        self.client.carry(self.client.revoke(self.patient, self.hospital, share.salt), self.sender)

    def mine(self, count=1):
        for _ in range(count):
            self.node.rpc("evm_mine")


@pytest.fixture(params=["ganache", "anvil"])
def world(request):
    with node(request.param) as made:
        world = World(made)
        yield world
        world.proxy.close()


@pytest.fixture
def anvil():
    with node("anvil") as made:
        world = World(made)
        yield world
        world.proxy.close()


def refused(cache, words):
    with pytest.raises(LedgerUnavailable, match=words) as caught:
        cache.fresh()
    assert caught.value.name == "LedgerUnavailable"


def test_a_node_that_is_down_lets_nobody_read_and_one_that_is_back_does():
    with node("ganache") as made:
        world = World(made)
        share, cache = world.give(), AccessCache(made.w3, world.record)
        assert ask(cache.fresh(), share) is Refusal.NOTHING
        made.stop()
        refused(cache, "does not answer")
        refused(cache, "does not answer")
        made.start()
        assert ask(cache.fresh(), share) is Refusal.NOTHING
        world.proxy.close()


def test_a_cache_may_be_made_before_there_is_a_node(world):
    cache = AccessCache(world.node.w3, world.record)
    url = world.node.w3.provider.endpoint_uri
    world.node.w3.provider.endpoint_uri = f"http://127.0.0.1:{free_port()}"
    refused(cache, "does not answer")
    world.node.w3.provider.endpoint_uri = url
    assert cache.fresh().number == world.node.w3.eth.block_number


def test_a_node_that_hangs_is_given_up(anvil):
    cache = anvil.cache(timeout=1)
    cache.fresh()
    anvil.proxy.wait = 3
    begun = time.monotonic()
    refused(cache, "does not answer")
    assert time.monotonic() - begun < 2.5
    anvil.proxy.wait = 0
    assert cache.fresh()


def test_a_node_that_fell_back_is_not_believed(world):
    cache = world.cache()
    share = world.give()
    mark = world.node.rpc("evm_snapshot")
    world.end(share)
    assert ask(cache.fresh(), share) is Refusal.REVOKED
    world.node.rpc("evm_revert", mark)
    refused(cache, "was .* before")


def test_a_reorganisation_is_followed(world):
    cache = world.cache()
    kept = world.give(1)
    world.mine(3)
    cache.fresh()
    mark = world.node.rpc("evm_snapshot")
    dead = world.give(2)
    assert [ask(cache.fresh(), share) for share in (kept, dead)] == [Refusal.NOTHING] * 2
    world.node.rpc("evm_revert", mark)
    world.mine()  # as high as before, another block
    assert [ask(cache.fresh(), share) for share in (kept, dead)] == [Refusal.NOTHING, Refusal.NO_GRANT]
    world.end(kept)
    assert ask(cache.fresh(), kept) is Refusal.REVOKED


def test_a_reorganisation_below_all_marks_is_followed(anvil, monkeypatch):
    monkeypatch.setattr(cache_module, "DEPTH", 5)
    cache = anvil.cache()
    kept = anvil.give(1)
    mark = anvil.node.rpc("evm_snapshot")
    dead = [anvil.give(number) for number in range(2, 5)]
    for _ in range(10):
        anvil.mine()
        cache.fresh()
    assert len(cache._marks) <= 7
    anvil.node.rpc("evm_revert", mark)
    anvil.mine(30)
    view = cache.fresh()
    assert ask(view, kept) is Refusal.NOTHING
    assert {ask(view, share) for share in dead} == {Refusal.NO_GRANT}


def test_another_chain_is_refused_and_the_old_one_taken_on_again(anvil):
    cache = anvil.cache()
    share = anvil.give()
    number = cache.fresh().number
    with node("anvil", "--timestamp", "1600000000") as other:
        other.rpc("anvil_mine", hex(number + 5))
        anvil.proxy.target = other.url  # of the same chain id
        refused(cache, "genesis")
        other.rpc("anvil_setChainId", 7)
        refused(cache, "serves chain 7")
    anvil.proxy.target = anvil.node.url
    anvil.proxy.asked.clear()
    assert ask(cache.fresh(), share) is Refusal.NOTHING
    assert anvil.proxy.asked["eth_getLogs"] == 0  # nothing was thrown away


def test_a_chain_of_the_same_beginning_without_the_contracts_is_refused():
    words = "--timestamp", "1600000000"
    with node("anvil", *words) as made, node("anvil", *words) as other:
        world = World(made)
        cache, share = world.cache(), world.give()
        number = cache.fresh().number
        other.rpc("anvil_mine", hex(number + 5))
        assert other.rpc("eth_getBlockByNumber", "0x0", False)["hash"] == world.record.genesis
        world.proxy.target = other.url
        refused(cache, "no transaction")
        world.proxy.target = made.url
        assert ask(cache.fresh(), share) is Refusal.NOTHING
        world.proxy.close()


def test_contracts_that_are_not_ours_are_refused(anvil):
    place = anvil.record.contracts["RecordAccess"]
    anvil.record.contracts["RecordAccess"] = type(place)(**{**vars(place), "sourceHash": "00"})
    refused(anvil.cache(), "other sources")


def test_a_record_without_the_contracts_is_refused_at_once(anvil):
    del anvil.record.contracts["RecordAccess"]
    with pytest.raises(DeploymentMissing):
        anvil.cache()


def test_a_node_that_is_still_syncing_is_refused(anvil):
    cache = anvil.cache()
    cache.fresh()
    anvil.proxy.lie = lambda method, result: {"currentBlock": "0x1"} if method == "eth_syncing" else result
    refused(cache, "catching up")


def test_a_chain_that_stands_still_is_refused(anvil):
    clock = [time.time()]
    cache = anvil.cache(clock=lambda: clock[0], longest=60)
    cache.fresh()
    clock[0] += 3600
    refused(cache, "newest block is of")


# ---------------------------------------------------------------------- nodes that lie


def lying(method, change):
    def lie(asked, result):
        return change(result) if asked == method and result else result

    return lie


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("eth_getLogs", lambda logs: [{**log, "blockHash": "0x" + "11" * 32} for log in logs], "names block"),
        ("eth_getLogs", lambda logs: logs[:-1], "leaves out"),
        ("eth_getLogs", lambda logs: [], "leaves out"),
        ("eth_getLogs", lambda logs: [*logs, logs[0]], "twice"),
        ("eth_getLogs", lambda logs: [{**log, "blockNumber": "0x1"} for log in logs], "other blocks"),
        ("eth_getLogs", lambda logs: [{**log, "data": "0x"} for log in logs], "another form"),
        ("eth_getLogs", lambda logs: [{**log, "topics": ["0x" + "22" * 32]} for log in logs], "does not have"),
        ("eth_getLogs", lambda logs: [{}], "none"),
        ("eth_getLogs", lambda logs: "nonsense", "none"),
        ("eth_getBlockByNumber", lambda block: {**block, "parentHash": "0x" + "33" * 32}, "changed|genesis|is built"),
        ("eth_getBlockByNumber", lambda block: {**block, "number": "0x7fffffff"}, "."),
        ("eth_getBlockByNumber", lambda block: None, "none"),
        ("eth_getBlockByNumber", lambda block: {"number": "0x5"}, "none"),
        ("eth_chainId", lambda found: "0x7", "serves chain 7"),
    ],
)
def test_a_node_that_contradicts_itself_is_refused(anvil, method, change, words):
    cache = anvil.cache()
    cache.fresh()
    share = anvil.give()
    anvil.give(2)
    anvil.proxy.lie = lying(method, change)
    refused(cache, words)
    anvil.proxy.lie = None
    assert ask(cache.fresh(), share) is Refusal.NOTHING


def test_a_revoke_that_the_node_leaves_out_is_missed_by_nobody(anvil):
    cache = anvil.cache()
    share = anvil.give()
    assert ask(cache.fresh(), share) is Refusal.NOTHING
    anvil.end(share)
    anvil.proxy.lie = lying("eth_getLogs", lambda logs: [])
    refused(cache, "leaves out")
    anvil.mine()
    refused(cache, "leaves out")
    anvil.proxy.lie = None
    assert ask(cache.fresh(), share) is Refusal.REVOKED


def test_others_logs_in_the_same_block_are_no_sign_of_a_lie(anvil):
    """A block with logs of the money as well: asked for whole, and believed."""
    cache = anvil.cache()
    money = anvil.node.deploy().contract(anvil.node.w3, "ZeroFeePayments")
    cache.fresh()
    anvil.node.rpc("evm_setAutomine", False)
    signed, share = anvil.client.grant(anvil.patient, anvil.hospital, SALT, TERMS)
    account = {"from": funded(0).address, "gas": 200_000}
    for call in (money.functions.mint(anvil.hospital, 5), anvil.client.function(signed)):
        call.transact(account)
    anvil.mine()
    anvil.node.rpc("evm_setAutomine", True)
    anvil.proxy.asked.clear()
    assert ask(cache.fresh(), share) is Refusal.NOTHING
    assert anvil.proxy.asked["eth_getLogs"] == 2


def test_a_gap_in_a_grants_versions_far_back_is_found(anvil):
    """Where only headers of blocks with logs are read, a block that is left out whole shows by the next message."""
    anvil.mine()  # no block of a grant is the last one of a stretch, whose header is always read
    share = anvil.give()
    number = hex(anvil.node.w3.eth.block_number)
    anvil.end(share)
    anvil.mine(10)
    anvil.proxy.lie = lying("eth_getLogs", lambda logs: [log for log in logs if log["blockNumber"] != number])
    cache = anvil.cache(step=4)
    refused(cache, "one missing")
    anvil.proxy.lie = None
    assert ask(cache.fresh(), share) is Refusal.REVOKED


# ---------------------------------------------------------------------- reading far


@pytest.mark.parametrize("step", [1, 3, 7, 2000])
def test_the_size_of_a_stretch_changes_nothing(anvil, step):
    shares = [anvil.give(number) for number in range(12)]
    anvil.end(shares[3])
    told = []
    cache = anvil.cache(step=step)
    view = cache.sync(lambda block, newest: told.append((block, newest)))
    expected = [Refusal.REVOKED if number == 3 else Refusal.NOTHING for number in range(12)]
    assert [ask(view, share) for share in shares] == expected
    assert told == sorted(told)
    assert told[-1] == (view.number, view.number)
    assert len(view.standings) == 12


def test_a_reading_that_is_broken_off_goes_on_where_it_was_and_nothing_half_read_is_used(anvil):
    shares = [anvil.give(number) for number in range(12)]
    cache = anvil.cache(step=4)

    def stop(block, newest):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.sync(stop)
    told = []
    view = cache.sync(lambda block, newest: told.append(block))
    assert told[0] == anvil.record.contracts["CareRegistry"].block + 7  # the second stretch
    assert {ask(view, share) for share in shares} == {Refusal.NOTHING}


def test_while_a_long_stretch_is_read_others_are_refused_at_once(anvil):
    anvil.mine(12)
    cache = anvil.cache(step=4)
    errors = []

    def look(block, newest):
        if not errors:
            begun = time.monotonic()
            with ThreadPoolExecutor(1) as pool:
                errors.append((pool.submit(cache.fresh).exception(), time.monotonic() - begun))

    cache.sync(look)
    ((error, seconds),) = errors
    assert "is read" in str(error)
    assert seconds < 1
    assert cache.fresh()


def test_a_chain_that_turns_while_a_long_stretch_is_read_is_followed(anvil):
    mark = anvil.node.rpc("evm_snapshot")
    dead = anvil.give(1)
    anvil.mine(12)
    cache = anvil.cache(step=4)
    turned = []

    def turn(block, newest):
        if not turned:
            turned.append(block)
            anvil.node.rpc("evm_revert", mark)
            anvil.mine(20)

    with pytest.raises(LedgerUnavailable, match=r"changed|other block"):
        cache.sync(turn)
    assert ask(cache.sync(), dead) is Refusal.NO_GRANT


def test_a_closed_cache_decides_nothing(anvil):
    cache = anvil.cache(step=4)
    anvil.mine(12)
    with pytest.raises(LedgerUnavailable, match="closed"):
        cache.sync(lambda block, newest: cache.close())
    refused(cache, "closed")


def test_what_is_kept_grows_with_the_grants_and_not_with_the_messages(anvil, monkeypatch):
    monkeypatch.setattr(cache_module, "DEPTH", 4)
    cache = anvil.cache()
    for _ in range(10):
        share = anvil.give()
        cache.fresh()
        anvil.end(share)
        cache.fresh()
    assert len(cache.fresh().standings) == 1
    assert len(cache._marks) <= 6
