"""The demo's queries of the served release: precision and retrieval sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from recsim_demo.held_out import K, run_queries
from recsim_demo.sheet import draw_sheet

if TYPE_CHECKING:
    from e2e.conftest import ThreeFeeds

pytestmark = pytest.mark.e2e


def test_held_out_images_find_products_of_their_category(three_feeds: ThreeFeeds, tmp_path: Path) -> None:
    images, categories = three_feeds.story.held_out[:250], three_feeds.story.held_out_categories[:250]
    with three_feeds.stack.client() as client:
        results = run_queries(client, images, categories)
        drawn = draw_sheet(client, images, categories, results, tmp_path / "sheet.png")
    assert (results.release, [len(products) for products in results.neighbours]) == (2, [K] * len(images))
    own = [
        products[0]["category"] == category
        for products, category in zip(results.neighbours, categories, strict=True)
    ]
    assert results.precision_at_1 == pytest.approx(np.mean(own), abs=1e-4)
    assert results.precision_at_1 > 0.5
    sheet = Image.open(drawn)
    assert min(sheet.size) > 800
    assert len(np.unique(np.asarray(sheet.convert("L")))) > 100
