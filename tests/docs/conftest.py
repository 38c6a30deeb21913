from __future__ import annotations

from serving.conftest import _variables_as_they_were, home, registered

__all__ = ["_variables_as_they_were", "home", "registered"]
