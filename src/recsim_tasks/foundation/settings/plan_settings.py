"""The plan: when an index is rebuilt, and when an encoder is trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, SettingsGroup, Share


class PlanSettings(SettingsGroup):
    """Reaching one of these limits changes the decision."""

    rebuild_churn: Annotated[float, Field(gt=0)] = Field(
        0.5,
        description="Rebuild when this share of the products changed since the last build.",
    )
    rebuild_recall: Share = Field(
        0.98,
        description="Rebuild when the champion's index finds less than this share of the exact ten nearest "
        "neighbours.",
    )
    rebuild_imbalance: Annotated[float, Field(ge=1)] = Field(
        1.5,
        description="Rebuild when a query of the champion's index scans more than this multiple of the "
        "vectors that it scanned after the build.",
    )
    retrain_days: Count = Field(90, description="Retrain when the encoder is older than this, days.")
    retrain_unseen_share: Share = Field(
        0.3, description="Retrain when a larger share of the catalogue's images came after the training."
    )
    retrain_category_products: Count = Field(
        100,
        description="Retrain when a category that the encoder was not trained on has as many products.",
    )
    retrain_drift: Annotated[float, Field(ge=0.5, le=1)] = Field(
        0.55,
        description="Retrain when the probability that a new image is farther from the known images of its "
        "category than a held-out image is significantly higher than this; 0.5 is no drift.",
    )
