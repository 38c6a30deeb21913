"""The catalogue and the champion of the refresh tests."""

from __future__ import annotations

from refresh.conftest import _variables_as_they_were, behind, home_behind

__all__ = ["_variables_as_they_were", "behind", "home_behind"]
