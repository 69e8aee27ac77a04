"""Records at rest: they come back as they went in, the database tells nothing, and what is erased is gone for good."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from cryptography.exceptions import InvalidTag

from liggare.database import engine_of
from liggare.errors import DataError, RecordDamaged, ResourceInvalid, SettingsError, StoreUnavailable, VersionConflict
from liggare.records.fhir import chart_of, dump, parse
from liggare.records.keyring import Keyring, MasterKey
from liggare.records.store import FORM, Store, metadata, records, schema
from tests.nodes import Postgres
from tests.records.test_fhir import examples
from tests.records.worker import (
    CHART,
    MASTER,
    count_up,
    erase,
    killed,
    observation,
    open_store,
    processes,
    rotate,
    together,
    write,
)

PSEUDONYM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
OTHER = "Patient/bo"
NOW = 1_800_000_000.5


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL of these tests' own."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres_url(postgres):
    """One database there."""
    return postgres.database("records")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database of either kind, without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db"
    url = request.getfixturevalue("postgres_url")
    engine = engine_of(url)
    with engine.begin() as connection:
        metadata.drop_all(connection)
    engine.dispose()
    return url


@pytest.fixture
def folder(tmp_path):
    """Where the keyring is."""
    return tmp_path / "keys"


@pytest.fixture
def store(url, folder):
    """The records, none yet."""
    with closing(Store(url, Keyring(folder, MASTER), clock=lambda: NOW)) as store:
        yield store


@pytest.fixture
def sqlite(tmp_path, folder):
    """The records in SQLite, none yet."""
    with closing(open_store(f"sqlite:///{tmp_path}/records.db", folder)) as store:
        yield store


def rows(store):
    with store._database.read() as connection:
        return connection.execute(sqlalchemy.select(records).order_by(records.c.seq)).all()


def alter(store, seq, **values):
    with store._database.write() as connection:
        connection.execute(sqlalchemy.update(records).where(records.c.seq == seq).values(**values))


# ---------------------------------------------------------------------- in and out


def test_all_examples_go_in_and_come_out_unchanged(sqlite):
    paths = examples()
    stored = []
    for path in paths:
        resource = parse(path.read_bytes())
        before = dump(resource)
        stored.append((resource, sqlite.put(resource)))
        assert dump(resource) == before
    for resource, made in stored:
        found = sqlite.get(made.chart, *made.reference.split("/"))
        meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": made.resource["meta"]["lastUpdated"]}
        assert found == {**resource, "meta": meta}
        parse(dump(found))
    every = {name: [made for _, made in stored if made.chart == name] for name in {made.chart for _, made in stored}}
    for chart, expected in every.items():
        assert sqlite.newest(chart) == [made.resource for made in expected]
    if len(paths) < 385:
        pytest.skip("HL7's examples are not in ../shared/data: only those of the repository went in")


def test_a_record_gets_id_version_and_time(store):
    resource = observation("1")
    del resource["id"]
    made = store.put(resource)
    assert "id" not in resource
    assert made.reference == f"Observation/{made.resource['id']}"
    assert (made.chart, made.version, made.created) == (CHART, 1, True)
    assert made.resource["meta"] == {"versionId": "1", "lastUpdated": "2027-01-15T08:00:00.500Z"}
    parse(dump(made.resource))
    assert store.get(CHART, "Observation", made.resource["id"]) == made.resource


def test_every_version_is_kept(store):
    first, second = store.put(observation("1", "a")), store.put(observation("1", "b"))
    assert not second.created
    assert store.get(CHART, "Observation", "1") == second.resource
    assert store.get(CHART, "Observation", "1", 1) == first.resource
    assert store.get(CHART, "Observation", "1", 2) == second.resource
    assert store.get(CHART, "Observation", "1", 3) is None
    assert store.newest(CHART, ["Observation"]) == [second.resource]


def test_the_version_that_the_writer_knows_must_be_the_records(store):
    store.put(observation("1"), expected_version=0)
    for wrong in (0, 2):
        with pytest.raises(VersionConflict) as caught:
            store.put(observation("1"), expected_version=wrong)
        assert (caught.value.expected, caught.value.actual) == (wrong, 1)
    with pytest.raises(VersionConflict):
        store.put(observation("2"), expected_version=1)
    assert store.put(observation("1"), expected_version=1).version == 2
    assert len(rows(store)) == 2


def test_a_record_is_found_in_its_own_chart_only(store):
    store.put(observation("1"))
    store.put(observation("1", chart=OTHER))
    store.put({"resourceType": "Condition", "id": "1", "subject": {"reference": CHART}})
    assert store.get(OTHER, "Observation", "1")["subject"] == {"reference": OTHER}
    assert store.get(OTHER, "Condition", "1") is None
    assert store.get("Patient/cia", "Observation", "1") is None
    assert store.get(None, "Observation", "1") is None
    assert [each["resourceType"] for each in store.newest(CHART)] == ["Observation", "Condition"]
    assert [each["resourceType"] for each in store.newest(CHART, ["Condition", "Claim"])] == ["Condition"]
    assert store.newest(CHART, []) == store.newest("Patient/cia") == []


def test_what_is_nobodys_stands_apart_and_only_shared_types_are_shared(store):
    doctor = store.put({"resourceType": "Practitioner", "id": "1"}).resource
    two = [{"reference": CHART}, {"reference": OTHER}]
    store.put({"resourceType": "Group", "id": "1", "member": [{"entity": each} for each in two]})
    store.put({"resourceType": "Library", "id": "1", "extension": [{"url": "u", "valueReference": r} for r in two]})
    assert store.shared("Practitioner", "1") == store.get(None, "Practitioner", "1") == doctor
    assert store.get(None, "Group", "1") is not None
    assert store.get(None, "Library", "1") is not None
    assert store.shared("Group", "1") is store.shared("Library", "1") is store.shared("Practitioner", "2") is None


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": 5}, {"resourceType": "a b"}, observation(""), observation("a/b"), observation(5)]
)
def test_what_has_no_name_is_refused(sqlite, resource):
    with pytest.raises(ResourceInvalid):
        sqlite.put(resource)
    assert rows(sqlite) == []


# ---------------------------------------------------------------------- who is who


def test_a_pseudonym_is_linked_and_unlinked(store):
    store.link(PSEUDONYM, CHART, OTHER)
    assert store.charts(PSEUDONYM) == {CHART, OTHER}
    store.unlink(PSEUDONYM, OTHER)
    assert store.charts(PSEUDONYM) == {CHART}
    store.erase(CHART)
    assert store.charts(PSEUDONYM) == frozenset()


@pytest.mark.parametrize("chart", ["", "anna", "Group/1", "Patient/", "Patient/a/b", "Patient/a\n"])
def test_what_is_no_chart_is_neither_linked_nor_erased(sqlite, chart):
    with pytest.raises(DataError):
        sqlite.link(PSEUDONYM, chart)
    with pytest.raises(DataError):
        sqlite.erase(chart)


# ---------------------------------------------------------------------- what the database tells

SECRETS = ["Observation", "Patient", "anna", "chronic", "2026-07-07", "27113001", "Lindqvist", "marker-id"]


def fill(store):
    """Put in what must not be seen: type, id, code, date, name, pseudonym."""
    store.link(PSEUDONYM, CHART)
    store.put({"resourceType": "Patient", "id": "anna", "name": [{"family": "Lindqvist"}]})
    coding = [{"system": "http://snomed.info/sct", "code": "27113001"}]
    for text in ("chronic", "chronic pain"):
        store.put(observation("marker-id", text, code={"coding": coding}, effectiveDateTime="2026-07-07"))
    store.rotate(CHART, "Observation")
    store.put({"resourceType": "Practitioner", "id": "marker-id", "name": [{"family": "Lindqvist"}]})


def seen(paths):
    """Return which secrets are in any of the files, as text or as bytes."""
    needles = {word: {word.encode(), word.encode("utf-16-le")} for word in SECRETS}
    number = bytes.fromhex(PSEUDONYM[2:])
    needles["pseudonym"] = {number, number.hex().encode(), PSEUDONYM[2:].encode()}
    content = [path.read_bytes() for path in paths]
    return {word for word, forms in needles.items() if any(form in text for form in forms for text in content)}


def test_sqlites_files_hold_nothing_in_clear(sqlite, tmp_path):
    fill(sqlite)
    files = sorted(tmp_path.glob("records.db*"))
    assert {path.name for path in files} == {"records.db", "records.db-wal", "records.db-shm"}
    assert (tmp_path / "records.db-wal").stat().st_size > 10_000
    assert seen(files) == set()
    sqlite.close()  # now all is in the one file
    assert seen(tmp_path.glob("records.db*")) == set()
    assert seen(sqlite.keyring.folder.iterdir()) == set()


def test_a_secret_in_sqlites_files_would_be_seen(sqlite, tmp_path):
    with sqlite._database.write() as connection:
        clear = " ".join(SECRETS).encode() + bytes.fromhex(PSEUDONYM[2:])
        connection.execute(
            sqlalchemy.insert(records), [{"shelf": b"", "item": b"", "version": 1, "generation": 1, "sealed": clear}]
        )
    assert seen(tmp_path.glob("records.db*")) == {*SECRETS, "pseudonym"}


def test_postgresqls_folder_holds_nothing_in_clear(postgres, folder):
    def files():
        return [path for path in (postgres._folder / "data").rglob("*") if path.is_file()]

    words = set(SECRETS) - {"Observation", "Patient", "anna", "chronic"}  # some are in the server's own files
    with closing(open_store(postgres.database("clear"), folder)) as store:
        fill(store)
        with store._database._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sqlalchemy.text("CHECKPOINT"))
        assert seen(files()) & {*words, "pseudonym"} == set()
        assert not any(b'"resourceType"' in path.read_bytes() for path in files())
        with store._database.write() as connection:  # and would be seen
            connection.execute(sqlalchemy.text("CREATE TABLE clear (word TEXT)"))
            for word in [*SECRETS, PSEUDONYM[2:]]:
                connection.execute(sqlalchemy.text("INSERT INTO clear VALUES (:word)"), {"word": word})
        assert seen(files()) >= {*words, "pseudonym"}


# ---------------------------------------------------------------------- crypto-shredding


def opens(store, keyring):
    """Return how many rows any key that there is opens, wherever it belongs."""
    keys = [keyring._read_chart(path) for path in keyring.folder.glob("*.keys")]
    opened = 0
    for row in rows(store):
        bound = FORM + bytes(row.shelf) + bytes(row.item) + row.version.to_bytes(8, "big")
        for one in (key for chart in keys for each in chart.keys.values() for key in each.values()):
            try:
                one.decrypt(row.sealed[:12], row.sealed[12:], bound + row.generation.to_bytes(8, "big"))
                opened += 1
            except InvalidTag:
                continue
    return opened


def test_a_backup_of_the_database_and_the_master_key_open_nothing_of_an_erased_chart(sqlite, tmp_path, folder):
    fill(sqlite)
    sqlite.put(observation("1", chart=OTHER))
    (tmp_path / "backup").mkdir()
    for path in tmp_path.glob("records.db*"):
        shutil.copy(path, tmp_path / "backup")  # with what is in the WAL alone
    with closing(open_store(f"sqlite:///{tmp_path}/backup/records.db", folder)) as backup:
        assert backup.get(CHART, "Observation", "marker-id") is not None  # as long as the keys are there
        assert opens(backup, sqlite.keyring) == len(rows(backup)) == 5

        sqlite.erase(CHART)
        assert sqlite.newest(CHART) == []
        assert len(rows(sqlite)) == 2

        assert backup.newest(CHART) == []
        assert backup.charts(PSEUDONYM) == frozenset()
        assert len(rows(backup)) == 5
        assert opens(backup, sqlite.keyring) == 2  # the other patient's and the practitioner's
        assert backup.get(OTHER, "Observation", "1") is not None
    names = [path.name for path in folder.iterdir()]
    assert not [name for name in names if not name.endswith(".keys") and name not in ("keyring", "lock")]
    assert len([name for name in names if name.endswith(".keys")]) == 2


def test_a_dump_of_postgresql_opens_nothing_of_an_erased_chart(postgres, folder):
    with closing(open_store(postgres.database("dumped"), folder)) as store:
        fill(store)
        dumped = [row._asdict() for row in rows(store)]
        assert opens(store, store.keyring) == 4
        store.erase(CHART)
        assert len(rows(store)) == 1
        with store._database.write() as connection:  # the backup is put back
            connection.execute(sqlalchemy.delete(records))
            connection.execute(sqlalchemy.insert(records), dumped)
        assert store.newest(CHART) == []
        assert opens(store, store.keyring) == 1


def test_after_a_rotation_the_old_key_is_gone_and_all_is_readable(store):
    written = [store.put(observation(str(number % 5), f"text {number}")).resource for number in range(10)]
    claim = store.put({"resourceType": "Claim", "id": "1", "patient": {"reference": CHART}}).resource
    before = rows(store)
    old = store.keyring.open(CHART)
    store.rotate(CHART, "Observation")
    after = rows(store)
    assert [row.generation for row in after] == [2] * 10 + [1]
    assert not {row.sealed for row in before[:10]} & {row.sealed for row in after}
    assert set(store.keyring.open(CHART).keys["Observation"]) == {2}
    assert [store.get(CHART, "Observation", each["id"], int(each["meta"]["versionId"])) for each in written] == written
    assert store.get(CHART, "Claim", "1") == claim
    for row in after[:10]:  # a copy of the keyring from before opens nothing any more
        with pytest.raises(InvalidTag):
            old.keys["Observation"][1].decrypt(row.sealed[:12], row.sealed[12:], b"")
    store.rotate(CHART, "Condition")
    store.rotate("Patient/cia", "Observation")
    assert store.keyring.open("Patient/cia") is None


def test_an_erased_patient_may_come_back_with_nothing_of_the_past(store):
    store.put(observation("1", "past"))
    store.erase(CHART)
    store.erase(CHART)
    assert store.put(observation("1", "present")).version == 1
    assert [each["code"]["text"] for each in store.newest(CHART)] == ["present"]


def test_a_chart_whose_erasure_was_cut_off_begins_anew_without_a_restart(store):
    store.put(observation("1", "past"))
    store.link(PSEUDONYM, CHART)
    store.keyring.erase(CHART)  # the process dies here
    assert len(rows(store)) == 1
    with pytest.raises(VersionConflict):
        store.put(observation("1", "present"), expected_version=1)
    assert rows(store) == []
    assert store.charts(PSEUDONYM) == frozenset()
    store.keyring.erase(CHART)
    store.link(PSEUDONYM, CHART)
    assert store.put(observation("1", "present")).version == 1
    assert store.charts(PSEUDONYM) == {CHART}


def test_an_erasure_by_another_process_is_obeyed_at_once(url, folder, store):
    store.put(observation("1"))
    store.link(PSEUDONYM, CHART)
    assert store.get(CHART, "Observation", "1") is not None  # its keys are in this process' memory now
    assert store.charts(PSEUDONYM) == {CHART}
    together((erase, url, folder))
    assert store.get(CHART, "Observation", "1") is None
    assert store.newest(CHART) == []
    assert store.charts(PSEUDONYM) == frozenset()


# ---------------------------------------------------------------------- damage


def moves():
    """Ways to put a row's content where it does not belong: (name, values of the row that is altered)."""
    mine, other_record, older, other_patient = 2, 3, 1, 4
    yield "another record of the patient", lambda r: {"sealed": r[other_record].sealed}
    yield "an older version of it", lambda r: {"sealed": r[older].sealed}
    yield "another patient's", lambda r: {"sealed": r[other_patient].sealed}
    yield "the whole row of another patient", lambda r: {"sealed": r[other_patient].sealed, "generation": 1}
    yield "a later version", lambda r: {"version": 7}
    yield "a generation that is none", lambda r: {"generation": 5}
    yield "cut off", lambda r: {"sealed": r[mine].sealed[:-1]}
    yield "empty", lambda r: {"sealed": b""}
    yield "one bit", lambda r: {"sealed": r[mine].sealed[:-1] + bytes([r[mine].sealed[-1] ^ 1])}
    yield "negative", lambda r: {"version": -1}


@pytest.mark.parametrize("values", [pytest.param(make, id=name) for name, make in moves()])
def test_a_row_that_is_not_what_was_written_there_is_told(store, values):
    for text in ("first", "second"):
        store.put(observation("1", text))
    store.put(observation("2"))
    store.put(observation("1", chart=OTHER))
    by_seq = {row.seq: row for row in rows(store)}
    alter(store, 2, **values(by_seq))
    with pytest.raises(RecordDamaged):
        [store.newest(CHART), store.get(CHART, "Observation", "1", -1)]
    assert store.get(CHART, "Observation", "2") is not None
    assert store.get(OTHER, "Observation", "1") is not None


def test_a_row_that_was_moved_to_another_patient_is_told(store):
    store.put(observation("1", "annas"))
    store.put(observation("1", chart=OTHER))
    mine, others = rows(store)
    with store._database.write() as connection:
        connection.execute(sqlalchemy.delete(records).where(records.c.seq == others.seq))
    alter(store, mine.seq, shelf=others.shelf, item=others.item)
    with pytest.raises(RecordDamaged):
        store.get(OTHER, "Observation", "1")
    assert store.get(CHART, "Observation", "1") is None


def test_a_damaged_row_does_not_keep_an_old_key_alive(store):
    for identity in ("1", "2"):
        store.put(observation(identity))
    alter(store, 1, sealed=b"x" * 60)
    store.rotate(CHART, "Observation")
    assert set(store.keyring.open(CHART).keys["Observation"]) == {2}
    assert store.get(CHART, "Observation", "2") is not None
    with pytest.raises(RecordDamaged):
        store.get(CHART, "Observation", "1")


def test_a_database_put_back_from_before_a_rotation_is_told(store):
    store.put(observation("1"))
    (old,) = rows(store)
    store.rotate(CHART, "Observation")
    alter(store, old.seq, sealed=old.sealed, generation=old.generation)
    with pytest.raises(RecordDamaged):
        store.get(CHART, "Observation", "1")


def test_another_keyring_finds_nothing(url, store, tmp_path):
    store.put(observation("1"))
    with closing(Store(url, Keyring(tmp_path / "others", MasterKey(bytes(32))))) as other:
        assert other.newest(CHART) == []


def test_what_is_no_database_is_refused(folder):
    with pytest.raises(SettingsError):
        open_store("hunter2", folder)
    with pytest.raises(StoreUnavailable) as caught:
        open_store("postgresql://me:hunter2@127.0.0.1:1/db", folder)
    assert "hunter2" not in str(caught.value)


def test_tables_of_another_release_are_refused(url, folder, store):
    with store._database.write() as connection:
        connection.execute(sqlalchemy.update(schema).values(version=99))
    with pytest.raises(SettingsError, match="99"):
        open_store(url, folder)


def test_a_database_that_goes_away_is_told_and_comes_back(folder):
    server = Postgres()
    try:
        with closing(open_store(server.database("gone"), folder)) as store:
            store.put(observation("1"))
            server.stop()
            for act in (
                lambda: store.get(CHART, "Observation", "1"),
                lambda: store.put(observation("1")),
                lambda: store.rotate(CHART, "Observation"),
                lambda: store.erase(CHART),
            ):
                with pytest.raises(StoreUnavailable):
                    act()
            server.start()
            assert store.get(CHART, "Observation", "1") is not None
    finally:
        server.close()


# ---------------------------------------------------------------------- several at once


def test_processes_write_one_chart_at_once_while_its_key_changes(url, folder, store):
    together(*((write, url, folder, name, 12) for name in ("a", "b", "c")), (rotate, url, folder, 12))
    newest = store.newest(CHART)
    assert len(newest) == 37
    assert store.get(CHART, "Observation", "common")["meta"]["versionId"] == "36"
    texts = {store.get(CHART, "Observation", "common", number + 1)["code"]["text"] for number in range(36)}
    assert texts == {f"{name}-{number}" for name in "abc" for number in range(12)}
    assert len(store.keyring.open(CHART).keys["Observation"]) == 1


def test_no_update_is_lost_between_processes(url, folder, store):
    store.put(observation("counter", valueInteger=0))
    together(*((count_up, url, folder, 10) for _ in range(3)))
    assert store.get(CHART, "Observation", "counter")["valueInteger"] == 30


def test_reading_goes_on_while_the_key_changes(url, folder, store):
    expected = [store.put(observation(str(number))).resource for number in range(10)]
    process = processes.Process(target=rotate, args=(url, folder, 30))
    process.start()
    looks = 0
    while process.is_alive():
        assert store.newest(CHART) == expected
        assert store.get(CHART, "Observation", "7") == expected[7]
        looks += 1
    process.join()
    assert process.exitcode == 0
    assert looks > 3
    assert store.newest(CHART) == expected


# ---------------------------------------------------------------------- kill -9


def state(store):
    """Return the texts of the chart's records, the rows that there are, and whom the pseudonym is."""
    texts = sorted(each["code"]["text"] for each in store.newest(CHART))
    return texts, len(rows(store)), set(store.charts(PSEUDONYM))


@pytest.mark.parametrize("action", ["rotate", "erase", "put"])
def test_killed_at_any_step_leaves_all_readable_or_all_erased(url, folder, store, action):
    """The process dies before its first step on the disk, then before its second, and so on until it gets through."""
    died = 0
    ends = set()
    every = 1 if url.startswith("sqlite") else 4
    for step in itertools.count(1, every):
        store.erase(CHART)
        for number in range(3):
            store.put(observation(str(number), f"text {number}"))
        store.link(PSEUDONYM, CHART)
        before = (["text 0", "text 1", "text 2"], 3, {CHART})
        assert state(store) == before
        gone_on = not killed(url, folder, action, step)
        with closing(open_store(url, folder)) as again:  # a restart puts right what was cut off
            after = state(again)
            assert (
                after
                in {
                    "rotate": [before],
                    "erase": [before, ([], 0, set())],
                    "put": [before, (["changed", "text 0", "text 2"], 4, {CHART})],
                }[action]
            )
            assert again.keyring.rotating() == again.keyring.erasing() == []
            assert state(store) == after  # who was there all the time sees the same
        left = {path.suffix for path in folder.iterdir()}
        assert left <= {"", ".keys", ".link"}
        ends.add(str(after))
        died += 1
        if gone_on:
            break
    assert died * every > {"rotate": 15, "erase": 15, "put": 1}[action]
    assert len(ends) == {"rotate": 1, "erase": 2, "put": 2}[action]


def test_the_disk_is_written_before_put_returns(sqlite):
    with sqlite._database.read() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_a_chart_of_the_store_is_the_one_of_the_compartment(sqlite):
    for path in examples()[:40]:
        resource = parse(path.read_bytes())
        assert sqlite.put(resource).chart == chart_of(resource)


def test_the_keyrings_folder_is_its_owners_alone(sqlite):
    assert sqlite.keyring.folder.stat().st_mode & 0o777 == 0o700
    assert Path(sqlite.keyring.folder / "lock").stat().st_uid == os.geteuid()
