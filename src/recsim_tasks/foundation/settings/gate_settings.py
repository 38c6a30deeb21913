"""The gate: what a challenger may lose against the champion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, SettingsGroup, Share


class GateSettings(SettingsGroup):
    """A challenger that breaks a limit is rejected."""

    evaluation_queries: Count = Field(
        1_000, description="Maximum number of products that `evaluate` queries."
    )
    gate_max_drop: Share = Field(
        0.02,
        description="Maximum significant loss of precision@1, precision@10 or MAP@R against the champion.",
    )
    gate_max_category_drop: Share = Field(
        0.1,
        description="The same limit for each category, for categories that the encoder was not trained on, "
        "and for new products against the others.",
    )
    gate_max_slowdown: Annotated[float, Field(ge=1)] = Field(
        2.0,
        description="Maximum processor time of a query, as a multiple of the champion's; "
        "for a first release, of an exact search.",
    )
    gate_max_churn: Share = Field(
        0.5,
        description="Maximum share of top-10 results that may change while the encoder stays the same.",
    )
    gate_max_withdrawn: Share = Field(
        0.5,
        description="Maximum share of the champion's products that a challenger may lack, "
        "unless a person accepted the feed that withdrew them.",
    )
    gate_min_recall: Share = Field(
        0.95, description="Minimum share of the exact ten nearest neighbours that the index must find."
    )
    approval: Literal["none", "ask"] = Field(
        "none", description="`ask`: a scheduled refresh asks a person before it promotes a release."
    )
