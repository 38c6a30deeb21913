"""Embeddings and the index."""

from __future__ import annotations

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, SettingsGroup, Share


class VectorSettings(SettingsGroup):
    """How images are embedded, and how the index searches."""

    embed_commit_images: Count = Field(
        50_000, description="Images that `embed` commits at a time: what a killed run can lose."
    )
    index_exact_below: Count = Field(
        20_000, description="Below this number of products the index searches exactly."
    )
    index_recall: Share = Field(
        0.99,
        description="Share of the exact ten nearest neighbours that a newly built index must find; "
        "sets how many of its lists a query probes.",
    )
