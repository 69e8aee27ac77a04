"""The keyring: who may open it, what it refuses, and that a key which goes is gone."""

from __future__ import annotations

import os
import shutil

import pytest

from liggare.errors import KeyringDamaged, MasterKeyRefused, WrongMasterKey
from liggare.records.keyring import Keyring, MasterKey
from tests.records.worker import CHART, MASTER

OTHER = "Patient/bo"


@pytest.fixture
def keyring(tmp_path):
    """A keyring without any chart."""
    return Keyring(tmp_path / "keys", MASTER)


def another(keyring):
    """The same folder, opened by another process."""
    return Keyring(keyring.folder, MASTER)


def keys_in(keys, category="Observation"):
    """What a chart's keys seal: something that only the same key does."""
    return {number: key.encrypt(bytes(12), b"x", b"") for number, key in keys.keys[category].items()}


def file_of(keyring, chart, suffix="keys"):
    return keyring._path(chart, suffix)


# ---------------------------------------------------------------------- the master key


def test_a_new_master_key_is_read_back_and_only_its_owner_can(tmp_path):
    made = MasterKey.new(tmp_path / "master")
    assert MasterKey.read(tmp_path / "master") == made
    assert (tmp_path / "master").stat().st_mode & 0o777 == 0o600


def test_a_master_key_is_never_overwritten(tmp_path):
    made = MasterKey.new(tmp_path / "master")
    with pytest.raises(MasterKeyRefused, match="exists"):
        MasterKey.new(tmp_path / "master")
    assert MasterKey.read(tmp_path / "master") == made


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_master_key_that_others_can_read_is_refused(tmp_path, mode):
    MasterKey.new(tmp_path / "master")
    (tmp_path / "master").chmod(mode)
    with pytest.raises(MasterKeyRefused, match="chmod 600"):
        MasterKey.read(tmp_path / "master")


def test_a_master_key_of_another_user_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    MasterKey.new(tmp_path / "master")
    os.chown(tmp_path / "master", 12345, 12345)
    with pytest.raises(MasterKeyRefused, match="owner"):
        MasterKey.read(tmp_path / "master")


@pytest.mark.parametrize("text", ["", "5a" * 31, "5a" * 33, "zz" * 32, "hunter2 hunter2", "5a" * 1000])
def test_what_is_no_master_key_is_refused_and_not_repeated(tmp_path, text):
    path = tmp_path / "master"
    path.write_text(text)
    path.chmod(0o600)
    for read in (lambda: MasterKey.read(path), lambda: MasterKey.from_environment("KEY", {"KEY": text})):
        with pytest.raises(MasterKeyRefused, match="64 hexadecimal digits") as caught:
            read()
        assert not text or text not in str(caught.value)


def test_a_missing_master_key_is_refused(tmp_path):
    with pytest.raises(MasterKeyRefused, match="No such file"):
        MasterKey.read(tmp_path / "master")
    with pytest.raises(MasterKeyRefused, match="KEY is not set"):
        MasterKey.from_environment("KEY", {})


def test_the_environment_may_hold_the_master_key():
    assert MasterKey.from_environment("KEY", {"KEY": f"0x{MASTER.key.hex()}\n"}) == MASTER


def test_no_secret_is_in_a_repr(keyring):
    keys = keyring.provide(CHART, "Observation")
    for shown in (repr(MASTER), repr(keys), repr(keyring), repr(keyring.erase(CHART))):
        assert MASTER.key.hex() not in shown
        assert keys.index.hex() not in shown
        assert repr(keys.index) not in shown


def test_another_master_key_opens_nothing(keyring):
    keyring.provide(CHART, "Observation")
    with pytest.raises(WrongMasterKey):
        Keyring(keyring.folder, MasterKey(bytes(32)))
    assert another(keyring).open(CHART) is not None


# ---------------------------------------------------------------------- keys


def test_a_chart_has_a_key_for_each_category_and_of_its_own(keyring):
    keyring.provide(CHART, "Observation")
    keyring.provide(CHART, "Claim")
    keyring.provide(OTHER, "Observation")
    anna, bo = keyring.open(CHART), keyring.open(OTHER)
    sealed = [keys_in(anna)[1], keys_in(anna, "Claim")[1], keys_in(bo)[1]]
    assert len(set(sealed)) == 3
    assert anna.handle("Observation") != bo.handle("Observation") != anna.handle("Claim")


def test_keys_come_back_in_another_process(keyring):
    made = keyring.provide(CHART, "Observation")
    found = another(keyring).open(CHART)
    assert (found.index, keys_in(found)) == (made.index, keys_in(made))


def test_a_chart_without_keys_has_none(keyring):
    assert keyring.open(CHART) is None
    assert keyring.renew(CHART, "Observation") is None
    assert keyring.erase(CHART) is None


def test_file_names_and_files_tell_nothing(keyring):
    keyring.provide(CHART, "Observation")
    keyring.link("0x" + "11" * 20, CHART)
    for path in keyring.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0
        for word in (b"anna", b"Patient", b"Observation", b"1111111111", b"index"):
            assert word not in path.name.encode() + path.read_bytes()


def test_a_key_that_another_process_made_is_seen(keyring):
    other = another(keyring)
    keyring.provide(CHART, "Observation")
    other.provide(CHART, "Claim")
    assert set(keyring.open(CHART).keys) == {"Observation", "Claim"}


def test_keys_are_not_unwrapped_again_while_their_file_stays(keyring, monkeypatch):
    keyring.provide(CHART, "Observation")
    keyring.link("0x" + "11" * 20, CHART)
    keyring.open(CHART), keyring.charts("0x" + "11" * 20)
    unsealed = []
    monkeypatch.setattr(keyring, "_unseal", lambda *given: unsealed.append(given))
    for _ in range(100):
        assert keyring.open(CHART).chart == CHART
        assert keyring.charts("0x" + "11" * 20) == {CHART}
    assert not unsealed


def test_a_renewed_key_stands_beside_the_old_one_until_that_is_retired(keyring):
    first = keyring.provide(CHART, "Observation")
    keyring.provide(CHART, "Claim")
    renewed = keyring.renew(CHART, "Observation")
    assert renewed.newest("Observation")[0] == 2
    assert keys_in(renewed)[1] == keys_in(first)[1]
    assert keyring.rotating() == [(CHART, "Observation")]
    keyring.retire(renewed, "Observation")
    assert set(keyring.open(CHART).keys["Observation"]) == {2}
    assert set(keyring.open(CHART).keys["Claim"]) == {1}
    assert keyring.rotating() == []


def test_retiring_for_a_chart_that_was_erased_and_began_anew_takes_nothing(keyring):
    keyring.provide(CHART, "Observation")
    renewed = keyring.renew(CHART, "Observation")
    keyring.finish(keyring.erase(CHART))
    fresh = keyring.provide(CHART, "Observation")
    keyring.retire(renewed, "Observation")
    assert keys_in(keyring.open(CHART)) == keys_in(fresh)


# ---------------------------------------------------------------------- erasing


def test_an_erased_chart_is_gone_at_once_for_every_process(keyring):
    other = another(keyring)
    keyring.provide(CHART, "Observation")
    assert other.open(CHART) is not None
    keyring.erase(CHART)
    assert keyring.open(CHART) is other.open(CHART) is None


def test_an_erased_key_was_overwritten_before_its_file_went(keyring, tmp_path):
    keyring.provide(CHART, "Observation")
    path = file_of(keyring, CHART)
    content = path.read_bytes()
    os.link(path, tmp_path / "same")  # what the disk still has under the file
    keyring.erase(CHART)
    assert not path.exists()
    assert (tmp_path / "same").stat().st_size == len(content)
    assert (tmp_path / "same").read_bytes() != content


def test_a_replaced_file_was_overwritten_too(keyring, tmp_path):
    keyring.provide(CHART, "Observation")
    content = file_of(keyring, CHART).read_bytes()
    os.link(file_of(keyring, CHART), tmp_path / "same")
    keyring.provide(CHART, "Claim")
    assert (tmp_path / "same").read_bytes() != content


def test_what_remains_of_a_chart_has_no_key_and_goes_when_it_is_finished(keyring):
    keyring.provide(CHART, "Observation")
    keyring.link("0x" + "11" * 20, CHART, OTHER)
    remains = keyring.erase(CHART)
    assert remains.chart == CHART
    assert remains.keys.keys == {"Observation": {}}
    assert [each.chart for each in keyring.erasing()] == [CHART]
    keyring.finish(remains)
    assert keyring.erasing() == []
    assert keyring.charts("0x" + "11" * 20) == {OTHER}
    keyring.finish(remains)  # another process was faster: nothing happens


def test_finishing_late_leaves_what_began_anew(keyring):
    keyring.provide(CHART, "Observation")
    keyring.link("0x" + "11" * 20, CHART)
    remains = keyring.erase(CHART)
    another(keyring).finish(remains)
    keyring.link("0x" + "11" * 20, CHART)
    keyring.finish(remains)
    assert keyring.charts("0x" + "11" * 20) == {CHART}


def test_a_chart_whose_erasure_is_not_finished_does_not_begin_anew(keyring):
    keyring.provide(CHART, "Observation")
    keyring.erase(CHART)
    with pytest.raises(KeyringDamaged, match="not finished"):
        keyring.provide(CHART, "Observation")


# ---------------------------------------------------------------------- links


def test_links_add_up_and_are_taken_back(keyring):
    pseudonym = "0x" + "ab" * 20
    assert keyring.charts(pseudonym) == frozenset()
    keyring.link(pseudonym, CHART)
    keyring.link(pseudonym, OTHER, CHART)
    assert another(keyring).charts(pseudonym) == {CHART, OTHER}
    keyring.unlink(pseudonym, CHART)
    assert keyring.charts(pseudonym) == {OTHER}
    assert keyring.open(CHART).pseudonyms == frozenset()
    keyring.unlink(pseudonym)
    assert another(keyring).charts(pseudonym) == frozenset()
    keyring.unlink(pseudonym)
    assert not list(keyring.folder.glob("*.link"))


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[:20], lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:-1] + bytes([b[-1] ^ 1])],
)
def test_a_damaged_file_is_told(keyring, damage):
    keyring.provide(CHART, "Observation")
    path = file_of(keyring, CHART)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KeyringDamaged):
        keyring.open(CHART)
    with pytest.raises(KeyringDamaged):
        keyring.provide(CHART, "Claim")
    keyring.erase(CHART)  # still possible: the wish is that nothing can be read
    assert keyring.open(CHART) is None


def test_another_charts_file_in_its_place_is_told(keyring):
    keyring.provide(CHART, "Observation")
    keyring.provide(OTHER, "Observation")
    shutil.copy(file_of(keyring, OTHER), file_of(keyring, CHART))
    with pytest.raises(KeyringDamaged):
        keyring.open(CHART)


def test_a_link_that_was_moved_is_told(keyring):
    keyring.link("0x" + "11" * 20, CHART)
    keyring.link("0x" + "22" * 20, OTHER)
    shutil.copy(file_of(keyring, "0x" + "22" * 20, "link"), file_of(keyring, "0x" + "11" * 20, "link"))
    with pytest.raises(KeyringDamaged):
        keyring.charts("0x" + "11" * 20)


def test_a_keyring_that_lost_the_file_of_its_master_key_is_refused(keyring):
    keyring.provide(CHART, "Observation")
    (keyring.folder / "keyring").unlink()
    with pytest.raises(KeyringDamaged, match="lost"):
        another(keyring)


def test_a_keyring_whose_first_file_is_cut_off_is_refused(keyring):
    (keyring.folder / "keyring").write_bytes(b"x")
    with pytest.raises(KeyringDamaged, match="cut off"):
        another(keyring)


def test_what_a_write_that_was_cut_off_left_is_destroyed_at_the_next_start(keyring, tmp_path):
    keyring.provide(CHART, "Observation")
    path = file_of(keyring, CHART)
    shutil.copy(path, path.with_name(path.name + ".new"))
    shutil.copy(path, path.with_name(path.name + ".old"))
    found = another(keyring).open(CHART)
    assert found is not None
    assert [each.name for each in keyring.folder.glob("*.keys*")] == [path.name]


def test_a_write_cut_off_before_the_new_file_took_its_place_keeps_the_old_one(keyring):
    keyring.provide(CHART, "Observation")
    path = file_of(keyring, CHART)
    os.link(path, path.with_name(path.name + ".old"))
    assert another(keyring).open(CHART) is not None
    assert path.stat().st_nlink == 1
