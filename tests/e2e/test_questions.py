"""What the demo shows of the served release: how often it is right, and the retrieval sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from recsim_demo.queries import K, ask
from recsim_demo.sheet import draw

if TYPE_CHECKING:
    from conftest import ThreeFeeds

pytestmark = pytest.mark.e2e


def test_pictures_that_no_feed_held_find_their_category_and_make_a_sheet(
    three_feeds: ThreeFeeds, tmp_path: Path
) -> None:
    images, categories = three_feeds.story.held_out[:250], three_feeds.story.held_out_categories[:250]
    with three_feeds.stack.client() as client:
        answers = ask(client, images, categories)
        drawn = draw(client, images, categories, answers, tmp_path / "sheet.png")
    assert (answers.release, [len(found) for found in answers.neighbours]) == (2, [K] * len(images))
    own = [
        found[0]["category"] == category
        for found, category in zip(answers.neighbours, categories, strict=True)
    ]
    assert answers.precision_at_1 == pytest.approx(np.mean(own), abs=1e-4)
    assert answers.precision_at_1 > 0.5
    sheet = Image.open(drawn)
    assert min(sheet.size) > 800
    assert len(np.unique(np.asarray(sheet.convert("L")))) > 100
