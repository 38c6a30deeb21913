"""Read the settings: environment first, then the TOML file, then the defaults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings.environment import PARENT_PID
from recsim_tasks.foundation.settings.gate_settings import GateSettings
from recsim_tasks.foundation.settings.guard_settings import GuardSettings
from recsim_tasks.foundation.settings.learning_settings import LearningSettings
from recsim_tasks.foundation.settings.location_settings import LocationSettings
from recsim_tasks.foundation.settings.plan_settings import PlanSettings
from recsim_tasks.foundation.settings.secrets import redact_secrets, without_credentials
from recsim_tasks.foundation.settings.serving_settings import ServingSettings
from recsim_tasks.foundation.settings.spark_settings import SparkSettings
from recsim_tasks.foundation.settings.vector_settings import VectorSettings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "RECSIM_"
CONFIG = "RECSIM_CONFIG"
# Not read by `Settings`.
OTHERS = {CONFIG, PARENT_PID}


class Settings(
    ServingSettings, PlanSettings, GateSettings, VectorSettings, LearningSettings, GuardSettings,
    SparkSettings, LocationSettings, BaseSettings,
):  # fmt: skip
    """Every setting with its default; docs/settings.md has a row for each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # two of five sources are used
        cls,
        settings_cls: type[BaseSettings],
        env_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the TOML file."""
        return env_settings, TomlConfigSettingsSource(settings_cls, toml_file=os.environ.get(CONFIG))

    @property
    def device_slots(self) -> int:
        """Slots of `gpu_pool`: the GPUs, or without any the task slots of a local Spark master.

        recsim does not know the size of another master: it takes what the settings ask for.
        """
        local = re.fullmatch(r"local\[(\d+)[^\]]*\]", self.spark_master)
        return self.gpus or (int(local[1]) if local else max(self.ranks, self.tune_parallel))

    @property
    def embedding_slots(self) -> int:
        """Slots of `gpu_pool` that embedding takes: all GPUs of a cluster; 0 on a local master."""
        return 0 if self.is_local else self.gpus


def load_settings() -> Settings:
    """Read the settings; a wrong or unknown one is refused by name (`ConfigurationError`)."""
    _refuse_unknown_variables()
    config = os.environ.get(CONFIG)
    if config and not Path(config).is_file():
        raise ConfigurationError(
            f"{CONFIG} names {config}, which is not a file. Correct the path or unset it."
        )
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None  # its text has the values
    except ValueError as error:
        raise ConfigurationError(f"The settings file {config} cannot be read: {error}") from error
    uri, token = settings.mlflow_tracking_uri, settings.api_token
    redact_secrets(uri, token.get_secret_value() if token else None)
    return settings.model_copy(update={"mlflow_tracking_uri": uri and without_credentials(uri)})


def _refuse_unknown_variables() -> None:
    known = {
        f"{PREFIX}{name}".upper()
        for name, field in Settings.model_fields.items()
        if field.validation_alias is None
    }
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known | OTHERS)
    if unknown:
        raise ConfigurationError(
            f"Unknown setting {', '.join(unknown)}. docs/settings.md lists the settings: "
            "correct the name or unset it."
        )


def _explain(error: ValidationError) -> str:
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}{_given(fault)}" for fault in error.errors()
    )
    return f"Wrong setting: {faults}. Set as RECSIM_<NAME> or in the file that {CONFIG} names."


def _given(fault: ErrorDetails) -> str:
    """The value that was given, unless it is a secret or may be one under a misspelt name."""
    field = Settings.model_fields.get(str(fault["loc"][0]))
    shown = field is not None and "SecretStr" not in str(field.annotation)
    return f" (given: {redacted(repr(fault['input']))})" if shown else ""
