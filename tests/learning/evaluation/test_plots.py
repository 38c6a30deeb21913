from __future__ import annotations

import io

import numpy as np
import pytest

from recsim_tasks.learning.evaluation import plots

ODD = ["$a$", "$\\frac{$", "two $", "b\x1b[31m\nc"]


def drawn(figure: object) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg")  # type: ignore[attr-defined]
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_category_name_is_not_read_as_a_formula() -> None:
    images = np.zeros((1, 8, 8, 1), np.uint8)
    drawn(plots.confusion_matrix(np.eye(len(ODD)), ODD))
    drawn(plots.embedding_map(np.zeros((len(ODD), 2), np.float32), np.arange(len(ODD)), ODD))
    drawn(plots.retrieval_sheet([[plots.SheetCell(images[0], name, relevant=True)] for name in ODD]))
