"""The settings, read once at the start of a job; the only package that reads the environment.

Order: `RECSIM_*` variables, then the TOML file named by `RECSIM_CONFIG`, then the defaults. Each module holds
the settings of one concern; a function that needs no others takes its class, such as `GateSettings`.
"""

from __future__ import annotations

from recsim_tasks.foundation.settings.environment import (
    count_in,
    counts,
    environment,
    parent_pid,
    visible_gpus,
)
from recsim_tasks.foundation.settings.gate import GateSettings
from recsim_tasks.foundation.settings.guards import GuardSettings
from recsim_tasks.foundation.settings.learning import LearningSettings
from recsim_tasks.foundation.settings.load import Settings, load_settings
from recsim_tasks.foundation.settings.locations import LocationSettings
from recsim_tasks.foundation.settings.plan import PlanSettings
from recsim_tasks.foundation.settings.serving import ServingSettings
from recsim_tasks.foundation.settings.spark import SparkSettings, is_local
from recsim_tasks.foundation.settings.vectors import VectorSettings

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
    "count_in",
    "counts",
    "environment",
    "is_local",
    "load_settings",
    "parent_pid",
    "visible_gpus",
]
