"""MLflow's stages and aliases of the registered model `recsim`. No other module touches these.

MLflow cannot change stage and alias in one call. The alias `champion` is the truth: it is written last, serving follows it alone, and
whoever changes anything first brings the stages after it. MLflow calls stages deprecated; they are kept for the people and tools that
look at them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
NAME = "recsim"
CHAMPION, PREVIOUS = "champion", "previous"
STAGING, PRODUCTION, ARCHIVED = "Staging", "Production", "Archived"


class Stages:
    """Where each version stands."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def aliases(self) -> dict[str, int]:
        """Version by alias; none before the first release."""
        model = unless("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_registered_model(NAME))
        return {name: int(version) for name, version in model.aliases.items()} if model else {}

    def versions(self) -> list[ModelVersion]:
        """All versions that the registry keeps, oldest first."""
        found = self._client.search_model_versions(f"name='{NAME}'", max_results=10_000)
        return sorted(found, key=lambda version: int(version.version))

    def stage(self, version: int) -> None:
        """Put a new version into Staging."""
        self._set(version, STAGING)

    def enthrone(self, version: int, before: int | None) -> None:
        """Put `version` into Production in place of `before`: the alias that readers follow comes last."""
        if before is not None:
            self._client.set_registered_model_alias(NAME, PREVIOUS, str(before))
        self._set(version, PRODUCTION, archive_others=True)
        self._client.set_registered_model_alias(NAME, CHAMPION, str(version))

    def reconcile(self, champion: int | None) -> None:
        """Bring the stages after the champion, from where a change that was killed half-way, or a person, left them."""
        for version in self.versions():
            number, stage = int(version.version), version.current_stage
            if number == champion and stage != PRODUCTION:
                self._set(number, PRODUCTION)
            elif number != champion and stage == PRODUCTION:
                # A newer one was about to come, an older one about to leave.
                self._set(number, STAGING if number > (champion or 0) else ARCHIVED)

    def _set(self, version: int, stage: str, archive_others: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(
                NAME, str(version), stage, archive_existing_versions=archive_others
            )


def unless(code: str, call: Callable[[], T]) -> T | None:
    """What `call` gives; None when MLflow answers with the error `code`."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != code:
            raise
        return None
