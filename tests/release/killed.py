"""Processes that are killed at one of their calls to MLflow."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recsim_tasks.foundation.settings import Settings

# All by which `registry`, `stages` and `promotion` change what MLflow keeps.
WRITES = (
    *(
        "create_run",
        "create_registered_model",
        "create_logged_model",
        "finalize_logged_model",
        "create_model_version",
    ),
    *("log_batch", "log_dict", "log_model_artifacts", "log_outputs", "log_text", "set_tag", "set_terminated"),
    *(
        "set_registered_model_alias",
        "set_registered_model_tag",
        "set_model_version_tag",
        "transition_model_version_stage",
    ),
    "delete_model_version_tag",
)


def copied(settings: Settings, home: Path) -> Settings:
    """The same registry in a home of its own, which no connection of this process knows."""
    (home / "mlflow").mkdir(parents=True)
    shutil.copyfile(settings.home / "mlflow" / "mlflow.db", home / "mlflow" / "mlflow.db")
    return settings.model_copy(update={"home": home})


def in_a_child(fatal: int, work: Callable[[], object]) -> int:
    """Exit status of a process that is killed at the `fatal`-th call that would change the registry."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _die_at(fatal)
            work()
            os._exit(0)
        os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at(fatal: int) -> None:
    from mlflow import MlflowClient

    calls = iter(range(1, 1000))

    def dying(method: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if next(calls) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in WRITES:
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
