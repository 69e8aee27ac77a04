"""`liggare records grant`, `revoke`, `accredit`, `suspend`, `pseudonym`, `phrase`, by a carrier or a relayer."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from eth_account import Account

from liggare.payments.client import Payments
from liggare.records.client import Records
from liggare.records.messages import blind
from liggare.records.pseudonyms import Pseudonyms
from liggare.records.relay import State
from liggare.relay.terms import Limits, Pace
from liggare.web.relay import assemble
from tests.web.conftest import Served

HOSPITAL = Account.from_key(b"\x51" * 32)
ARCHIVE = Account.from_key(b"\x52" * 32)


@pytest.fixture(scope="module")
def phrase(tmp_path_factory):
    """The patient's seed phrase, a fixed one, in a file of her own."""
    path = tmp_path_factory.mktemp("patient") / "phrase"
    path.touch(mode=0o600)
    path.write_text("abandon " * 11 + "about\n")
    return path


@pytest.fixture
def operator_file(key_file):
    """The key file of the operator, who is the accreditor too."""
    return key_file(Account.from_mnemonic("test test test test test test test test test test test junk"), "operator")


@pytest.fixture
def accredit(liggare, deployments, operator_file):
    """The hospital is accredited for observations."""
    words = ("--role", "provider", "--category", "Observation", "--until", "2100-01-01", "--key", operator_file)
    assert liggare("accredit", HOSPITAL.address, *words)[0] == 0


@pytest.fixture
def granted(grant_by, carrier_file, tmp_path):
    """The hospital may read observations for treatment until the end of 2099; its share."""
    code, out, err = grant_by("--carrier", carrier_file)
    assert (code, err) == (0, "")
    assert len(out["id"]) == 66
    return tmp_path / "share.json"


def test_a_share_is_its_owners_alone(granted):
    assert granted.stat().st_mode & 0o777 == 0o600
    assert not list(granted.parent.glob(".*"))


def test_a_share_that_cannot_be_written_stops_the_grant(liggare, accredit, phrase, carrier_file, w3, deployments):
    words = ("--phrase", phrase, "--carrier", carrier_file, "--purpose", "TREAT", "--until", "2099-12-31")
    code, out, _ = liggare("grant", HOSPITAL.address, "Observation", *words, "--share", "/nowhere/share", "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert not stands(w3, deployments, phrase)


def test_a_grant_to_nobody_accredited_is_wrong_use(liggare, deployments, phrase, carrier_file, tmp_path):
    words = ("--phrase", phrase, "--carrier", carrier_file, "--purpose", "TREAT", "--until", "2099-12-31")
    share = tmp_path / "share.json"
    code, out, err = liggare("grant", ARCHIVE.address, "Observation", *words, "--share", share, "--json")
    assert (code, out["error"]) == (2, "UsageError")
    assert "is no accredited organisation" in err
    assert not list(tmp_path.iterdir())


def test_a_grant_that_lets_nothing_now_is_noted(liggare, accredit, phrase, carrier_file, operator_file, tmp_path):
    assert liggare("records", "suspend", HOSPITAL.address, "--key", operator_file)[0] == 0
    words = ("--phrase", phrase, "--carrier", carrier_file, "--purpose", "TREAT", "--until", "2099-12-31")
    what = ("Observation", "Claim", "--share", tmp_path / "share.json")
    code, _, err = liggare("records", "grant", HOSPITAL.address, *what, *words)
    assert code == 0
    assert "is suspended" in err
    assert "may never read Claim" in err
    assert liggare("records", "resume", HOSPITAL.address, "--key", operator_file)[0] == 0
    code, _, err = liggare("records", "grant", HOSPITAL.address, "Observation", *what[1:], *words[:])
    assert (code, "is suspended" in err) == (0, False)


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_only_the_accreditor_suspends(liggare, accredit, carrier_file, verb):
    code, out, _ = liggare("records", verb, HOSPITAL.address, "--key", carrier_file, "--json")
    assert (code, out["error"]) == (1, "CareCallerNotAccreditor")


def test_to_revoke_what_was_never_granted_is_noted(liggare, accredit, phrase, carrier_file):
    words = ("--phrase", phrase, "--carrier", carrier_file)
    code, out, err = liggare("revoke", HOSPITAL.address, *words)
    assert (code, "reads nothing under" in out) == (0, True)
    assert "is it another organisation" in err


def test_all_is_revoked_at_once(liggare, granted, phrase, carrier_file):
    words = ("--phrase", phrase, "--carrier", carrier_file)
    code, out, err = liggare("records", "revoke", HOSPITAL.address, "--all", *words)
    assert (code, err) == (0, "")
    assert "all that was granted under" in out
    _, out, _ = liggare("records", "list", "--phrase", phrase, "--json")
    assert [held["status"] for held in out["grants"]] == ["AllRevoked"]


def test_the_pseudonym_is_told_without_a_chain(liggare, phrase):
    relationship = Pseudonyms(phrase.read_text()).relationship(HOSPITAL.address, 1)
    words = ("records", "pseudonym", HOSPITAL.address, "--phrase", phrase, "--number", "1")
    assert liggare(*words, rpc="http://127.0.0.1:1")[1] == f"{relationship.patient}\n"
    assert liggare("records", "pseudonym", "0x12", "--phrase", phrase, "--json")[1]["error"] == "InvalidAddress"


@pytest.mark.parametrize("words", ["nothing", "0x12=access.jsonl"])
def test_a_log_without_its_custodian_is_wrong_use(liggare, deployments, words):
    assert liggare("verify", "--log", words)[0] == 2


def test_a_log_that_is_not_there_is_one_line(liggare, deployments):
    code, out, _ = liggare("verify", "--log", f"{ARCHIVE.address}=/nowhere", "--json")
    assert (code, out["error"]) == (1, "DataError")


def test_nothing_of_the_grant_is_on_the_chain_in_clear(liggare, granted, tmp_path):
    copy = tmp_path / "ledger.jsonl"
    assert liggare("export", copy)[0] == 0
    text = copy.read_text()
    told = [line for line in text.splitlines() if "Granted" in line]
    assert told
    assert HOSPITAL.address.lower()[2:] not in told[0].lower()
    assert "Observation" not in text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("Observatoin",), "UnknownName"),
        (("Observation", "--purpose", "TRAET"), "UnknownName"),
        (("Observation", "--until", "1999-01-01", "--from", "2000-01-01"), "InvalidTerms"),
        (("Observation", "--until", "soon"), "UsageError"),
    ],
)
def test_a_grant_that_cannot_be_meant_is_wrong_use(liggare, accredit, phrase, carrier_file, tmp_path, words, error):
    share = tmp_path / "share.json"
    base = [
        "--phrase",
        phrase,
        "--carrier",
        carrier_file,
        "--share",
        share,
        "--purpose",
        "TREAT",
        "--until",
        "2099-01-01",
    ]
    code, out, _ = liggare("grant", HOSPITAL.address, *base, *words, "--json")
    assert (code, out["error"]) == (2, error)
    assert not share.exists()


# ---------------------------------------------------------------------- through a relayer


@pytest.fixture
def relay(w3, deployments, carrier, tmp_path):
    """A relayer of records on this run's chain; its sponsor is the carrier."""
    with serve(w3, deployments, carrier, tmp_path, Pace(wait=0.02)) as served:
        yield served


@contextmanager
def serve(w3, deployments, carrier, folder, pace):
    limits = Limits(per_account=3, budget=10**18)
    database = f"sqlite:///{folder}/relay.db"
    payments, records = Payments(w3, deployments), Records(w3, deployments)
    service = assemble(payments, carrier.account, database, Limits(), pace, records=records, record_limits=limits)
    with Served(service) as served:
        yield served
    service.outbox.close()


@pytest.fixture
def grant_by(liggare, accredit, phrase, tmp_path):
    """The patient lets the hospital read observations, carried as the words say."""

    def grant_by(*words):
        what = ("--purpose", "TREAT", "--until", "2099-12-31", "--share", tmp_path / "share.json")
        return liggare("grant", HOSPITAL.address, "Observation", "--phrase", phrase, *what, *words, "--json")

    return grant_by


def stands(w3, deployments, phrase) -> bool:
    """Tell whether the chain has a live grant of the patient to the hospital."""
    relationship = Pseudonyms(phrase.read_text()).relationship(HOSPITAL.address)
    records = Records(w3, deployments)
    return any(records.state(relationship.patient, blind(HOSPITAL.address, relationship.salt())).terms)


def test_a_patient_grants_and_revokes_with_neither_ether_nor_a_friend(
    liggare, grant_by, relay, w3, deployments, phrase, carrier, tmp_path
):
    code, out, err = grant_by("--relay", relay.url)
    assert code == 0, err
    assert out["carrier"] == carrier.account.address
    assert stands(w3, deployments, phrase)
    assert json.loads((tmp_path / "share.json").read_text())["patient"] == out["patient"]
    words = ("revoke", HOSPITAL.address, "--phrase", phrase, "--relay", relay.url)
    code, out, err = liggare(*words, "--json")
    assert code == 0, err
    assert not stands(w3, deployments, phrase)
    assert w3.eth.get_balance(out["patient"]) == 0
    code, out, _ = liggare(*words)
    assert (code, "revoked in block" in out) == (0, True)


def test_the_relayer_may_come_from_the_environment(grant_by, relay, carrier, monkeypatch):
    monkeypatch.setenv("LIGGARE_RELAY_URL", relay.url)
    code, out, err = grant_by()
    assert code == 0, err
    assert out["carrier"] == carrier.account.address


def test_a_revoke_overtakes_nothing_and_waits_for_nobody(
    liggare, grant_by, w3, deployments, carrier, phrase, tmp_path, monkeypatch
):
    """The grant is still on its way when the patient thinks better of it: the revoke lands right behind it."""
    monkeypatch.setattr("liggare.cli.records.TIMEOUT", 0.3)
    pace = Pace(wait=4)
    with serve(w3, deployments, carrier, tmp_path, pace) as served:
        code, out, _ = grant_by("--relay", served.url)
        assert (code, out["error"]) == (1, "MessageUncertain")
        assert (tmp_path / "share.json").exists()  # it may land still, and then the share is needed
        monkeypatch.setattr("liggare.cli.records.TIMEOUT", 30.0)
        code, _, err = liggare("revoke", HOSPITAL.address, "--phrase", phrase, "--relay", served.url, "--json")
        assert code == 0, err
        assert not stands(w3, deployments, phrase)
        assert served.service.outbox.counts()["carried"] == 2


def test_a_relayer_that_delays_a_revoke_is_told_of_and_nothing_is_called_revoked(
    liggare, grant_by, w3, deployments, carrier, carrier_file, phrase, tmp_path, monkeypatch
):
    monkeypatch.setattr("liggare.cli.records.PATIENCE", 0.2)
    monkeypatch.setattr("liggare.cli.records.TIMEOUT", 1.0)
    assert grant_by("--carrier", carrier_file)[0] == 0
    with serve(w3, deployments, carrier, tmp_path, Pace(wait=600)) as served:
        code, out, err = liggare("revoke", HOSPITAL.address, "--phrase", phrase, "--relay", served.url)
        assert (code, out) == (1, "")
        assert "not on the ledger yet" in err
        assert "--carrier" in err
        assert "nothing has changed yet" in err
        assert stands(w3, deployments, phrase)
        code, out, _ = liggare("revoke", HOSPITAL.address, "--phrase", phrase, "--carrier", carrier_file)
        assert (code, "revoked in block" in out) == (0, True)
        assert not stands(w3, deployments, phrase)


def test_a_relayer_that_says_revoked_and_did_nothing_is_found_out(
    liggare, grant_by, relay, w3, deployments, phrase, monkeypatch
):
    assert grant_by("--relay", relay.url)[0] == 0
    lie = State("0x" + "00" * 32, "carried", None, "0x" + "11" * 32, 5)
    monkeypatch.setattr("liggare.records.relay.Relay.post", lambda self, items: [lie])
    code, out, err = liggare("revoke", HOSPITAL.address, "--phrase", phrase, "--relay", relay.url, "--json")
    assert (code, out["error"]) == (1, "RelayLied")
    assert "revoked in" not in err
    assert stands(w3, deployments, phrase)


def test_a_quota_is_told_by_its_name(liggare, grant_by, relay, phrase):
    for _ in range(3):
        assert grant_by("--relay", relay.url)[0] == 0
    code, out, _ = grant_by("--relay", relay.url)
    assert (code, out["error"]) == (1, "QuotaExceeded")
    code, _, err = liggare("revoke", HOSPITAL.address, "--phrase", phrase, "--relay", relay.url)
    assert code == 0, err  # taking back has as much again


@pytest.mark.parametrize("words", [("--carrier", "x", "--relay", "http://127.0.0.1:1"), ()])
def test_exactly_one_of_carrier_and_relay(liggare, deployments, grant_by, phrase, words):
    code, out, err = grant_by(*words)
    assert (code, out["error"]) == (2, "UsageError")
    assert "--carrier" in err
    assert "--relay" in err
    assert liggare("revoke", HOSPITAL.address, "--phrase", phrase, *words)[0] == 2


def test_a_relayer_that_is_none_is_one_line(deployments, grant_by):
    code, out, _ = grant_by("--relay", "http://127.0.0.1:1")
    assert (code, out["error"]) == (1, "RelayUnreachable")


# ---------------------------------------------------------------------- the phrase


def test_a_phrase_that_others_may_read_is_refused(liggare, deployments, phrase, carrier_file, tmp_path):
    open_to_all = tmp_path / "phrase"
    open_to_all.write_text(phrase.read_text())
    open_to_all.chmod(0o644)
    code, _, err = liggare("revoke", HOSPITAL.address, "--phrase", open_to_all, "--carrier", carrier_file)
    assert code == 2
    assert "chmod 600" in err


def test_words_that_are_no_phrase_are_never_repeated(liggare, deployments, carrier_file, tmp_path):
    path = tmp_path / "phrase"
    path.touch(mode=0o600)
    path.write_text("my secret words\n")
    code, _, err = liggare("revoke", HOSPITAL.address, "--phrase", path, "--carrier", carrier_file)
    assert code == 2
    assert "secret" not in err


def test_a_new_phrase_is_made_once(liggare, tmp_path):
    path = tmp_path / "phrase"
    assert liggare("phrase", path)[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().split()) == 24
    assert liggare("phrase", path)[0] == 2
