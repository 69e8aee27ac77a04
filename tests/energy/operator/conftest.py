"""What tests of the operator have: a town, databases, operators."""

from __future__ import annotations

from tests.energy.operator.town import anvil_town, database, desk, desk_at, isolation, postgres, town

__all__ = ["anvil_town", "database", "desk", "desk_at", "isolation", "postgres", "town"]
