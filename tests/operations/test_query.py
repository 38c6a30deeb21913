"""What `recsim query` answers, from a real release in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsim_tasks.cli.tables import show_neighbours
from recsim_tasks.contracts import QueryResult
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations.query import query
from release.bundles import png_image

CONDITIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({"categories": ["rings"]}, [n for n in range(1, 40) if n % 2]),
    ({"categories": ["rings", "stripes"], "min_price": 20, "max_price": 25}, list(range(10, 16))),
    ({"in_stock": False}, list(range(0, 40, 3))),
    (
        {"in_stock": True, "exclude": ["p005", "p007", "unknown"]},
        [n for n in range(40) if n % 3 and n not in (5, 7)],
    ),
    ({"categories": ["hats"]}, []),
]


@pytest.mark.parametrize(("options", "numbers"), CONDITIONS)
def test_every_condition_holds_for_every_product_of_the_answer(
    behind: Settings, tmp_path: Path, options: dict[str, Any], numbers: list[int]
) -> None:
    (tmp_path / "query.png").write_bytes(png_image(2))
    by_image = query(behind, tmp_path / "query.png", None, {"k": 100, **options}).results
    assert {row["product_id"] for row in by_image} == {f"p{n:03d}" for n in numbers}
    by_product = query(behind, None, "p002", {"k": 100, **options}).results
    assert {row["product_id"] for row in by_product} == {f"p{n:03d}" for n in numbers if n != 2}


def test_invalid_options_are_refused_before_a_release_is_looked_up(settings: Settings) -> None:
    for options in (
        {"k": 0},
        {"k": 1001},
        {"min_price": "cheap"},
        {"colour": "red"},
        {"exclude": ["a"] * 1001},
        {"categories": ["\udc80"]},
    ):
        with pytest.raises(InputError, match=next(iter(options))):
            query(settings, None, "p001", options)


def test_the_table_shows_price_and_stock_and_says_when_nothing_meets_the_conditions(
    behind: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    show_neighbours(
        query(behind, None, "p002", {"k": 1, "exclude": ["p004"], "min_price": 12345.5, "max_price": 99999})
    )
    assert "No product meets these conditions." in capsys.readouterr().out
    row = {
        "product_id": "p",
        "score": 0.5,
        "category": None,
        "title": "t",
        "price": 1234.5,
        "in_stock": False,
    }
    show_neighbours(QueryResult(release=1, results=[row]))
    shown = capsys.readouterr().out
    assert "1,234.50" in shown
    assert "no" in shown.split("1,234.50")[1]
