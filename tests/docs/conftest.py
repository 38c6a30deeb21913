from __future__ import annotations

from release.conftest import empty_mlflow
from serving.conftest import _variables_as_they_were, home, registered

__all__ = ["_variables_as_they_were", "empty_mlflow", "home", "registered"]
