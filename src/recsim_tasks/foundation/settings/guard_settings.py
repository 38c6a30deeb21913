"""The limits of feeds and images: what goes to quarantine, and which feeds are put on hold."""

from __future__ import annotations

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, Pixels, SettingsGroup, Share


class GuardSettings(SettingsGroup):
    """A feed that exceeds a limit is on hold until a person accepts or refuses it."""

    image_max_pixels: Pixels = Field(40_000_000, description="A larger product image goes to quarantine.")
    placeholder_products: Count = Field(
        100,
        description="An image that more products of one feed share is a placeholder and goes to quarantine.",
    )
    max_withdrawn_share: Share = Field(
        0.5, description="A feed that would withdraw a larger share of the catalogue is put on hold."
    )
    max_withdrawn_category_share: Share = Field(
        0.8,
        description="A feed that would withdraw a larger share of one category is put on hold. "
        "Categories of fewer than 20 products do not count.",
    )
    max_quarantined_share: Share = Field(
        0.2,
        description="A feed of which a larger share goes to quarantine is put on hold, from 20 rows on.",
    )
    max_category_shift: Share = Field(
        0.3,
        description="A feed that would move a larger share of the catalogue to other categories is put on "
        "hold.",
    )
