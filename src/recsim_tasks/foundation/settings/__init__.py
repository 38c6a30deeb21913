"""The settings, read once at the start of a job; the only package that reads the environment.

Order: `RECSIM_*` variables, then the TOML file named by `RECSIM_CONFIG`, then the defaults. Each module has
the settings of one concern; a function that needs no others takes its class, such as `GateSettings`.
"""

from __future__ import annotations

from recsim_tasks.foundation.settings.environment import (
    environment,
    metrics_dir,
    parent_pid,
    set_metrics_dir,
    visible_gpus,
)
from recsim_tasks.foundation.settings.gate_settings import GateSettings
from recsim_tasks.foundation.settings.guard_settings import GuardSettings
from recsim_tasks.foundation.settings.learning_settings import LearningSettings
from recsim_tasks.foundation.settings.load import Settings, load_settings
from recsim_tasks.foundation.settings.location_settings import LocationSettings
from recsim_tasks.foundation.settings.plan_settings import PlanSettings
from recsim_tasks.foundation.settings.serving_settings import ServingSettings
from recsim_tasks.foundation.settings.spark_settings import SparkSettings, is_local
from recsim_tasks.foundation.settings.vector_settings import VectorSettings

__all__ = [
    "GateSettings",
    "GuardSettings",
    "LearningSettings",
    "LocationSettings",
    "PlanSettings",
    "ServingSettings",
    "Settings",
    "SparkSettings",
    "VectorSettings",
    "environment",
    "is_local",
    "load_settings",
    "metrics_dir",
    "parent_pid",
    "set_metrics_dir",
    "visible_gpus",
]
