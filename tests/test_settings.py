"""Settings complain by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from liggare.errors import SettingsError
from liggare.settings import Settings


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({}) == Settings()


def test_each_variable_is_read():
    variables = {
        "LIGGARE_RPC_URL": "https://node.example",
        "LIGGARE_CHAIN_ID": "5",
        "LIGGARE_DEPLOYMENTS": "here",
        "LIGGARE_PASSWORD_FILE": "there",
    }
    assert Settings.from_environment(variables) == Settings("https://node.example", 5, Path("here"), Path("there"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIGGARE_RPC_URL", "node.example"),
        ("LIGGARE_RPC_URL", "ftp://node.example"),
        ("LIGGARE_CHAIN_ID", "x"),
        ("LIGGARE_CHAIN_ID", "-1"),
        ("LIGGARE_CHAIN_ID", "0"),
        ("LIGGARE_CHAIN_ID", ""),
        ("LIGGARE_CHAIN_ID", "²"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(name, value):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})
