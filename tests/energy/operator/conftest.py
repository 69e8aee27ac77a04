"""What tests of the operator have: a town, databases, operators."""

from __future__ import annotations

import pytest

from tests.energy.operator.town import anvil_town, database, desk, desk_at, isolation, postgres, town
from tests.relay.load import Spawner

__all__ = ["anvil_town", "database", "desk", "desk_at", "isolation", "postgres", "spawner", "town"]


@pytest.fixture(scope="session")
def spawner():
    """Starts services quickly."""
    made = Spawner()
    yield made
    made.close()
