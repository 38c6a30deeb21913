"""The stages and aliases of the registered model `recsim` in MLflow. No other module touches these.

MLflow cannot change stage and alias in one call. The alias `champion` is the truth: it is written last,
serving follows it alone, and every change first brings the stages in line with it. MLflow deprecates stages;
they are kept for the people and tools that look at them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from recsim_tasks.contracts import REGISTERED_MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

T = TypeVar("T")
CHAMPION, PREVIOUS = "champion", "previous"
STAGING, PRODUCTION, ARCHIVED = "Staging", "Production", "Archived"


class Stages:
    """The stages and aliases of the releases."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def aliases(self) -> dict[str, int]:
        """Version by alias; empty before the first release."""
        model = self.registered_model()
        return {name: int(version) for name, version in model.aliases.items()} if model else {}

    def registered_model(self) -> RegisteredModel | None:
        """The registered model `recsim`; None before the first release."""
        return none_on("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_registered_model(REGISTERED_MODEL))

    def versions(self) -> list[ModelVersion]:
        """All versions that the registry keeps, oldest first."""
        versions = self._client.search_model_versions(f"name='{REGISTERED_MODEL}'", max_results=10_000)
        return sorted(versions, key=lambda version: int(version.version))

    def stage(self, version: int) -> None:
        """Put a new version into Staging."""
        self._set(version, STAGING)

    def set_production(self, version: int, previous: int | None) -> None:
        """Put `version` into Production in place of `previous`.

        The alias that readers follow is written last.
        """
        if previous is not None:
            self._client.set_registered_model_alias(REGISTERED_MODEL, PREVIOUS, str(previous))
        self._set(version, PRODUCTION, archive_others=True)
        self._client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, str(version))

    def reconcile(self, champion: int | None) -> None:
        """Correct the stages that a killed change, or a person, left out of line with the champion."""
        for version in self.versions():
            number, stage = int(version.version), version.current_stage
            if number == champion and stage != PRODUCTION:
                self._set(number, PRODUCTION)
            elif number != champion and stage == PRODUCTION:
                # A killed promotion had not finished with the newer, or a killed rollback with the older.
                self._set(number, STAGING if number > (champion or 0) else ARCHIVED)

    def _set(self, version: int, stage: str, archive_others: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(
                REGISTERED_MODEL, str(version), stage, archive_existing_versions=archive_others
            )


def none_on(code: str, call: Callable[[], T]) -> T | None:
    """The result of `call`; None if MLflow answers with the error `code`."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != code:
            raise
        return None
