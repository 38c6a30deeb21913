from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsim_tasks.contracts import ConfidenceInterval, RuleResult
from recsim_tasks.release.evaluation.queries import QueryResults
from recsim_tasks.release.gate.judge import Judgement
from recsim_tasks.release.gate.verdict_page import NEIGHBOURS, QUERIES, Product, Side, page
from release.bundles import png_image

MARKUP = "<script>alert(1)</script>"
PASSED = RuleResult(
    rule="Every product is found",
    passed=True,
    challenger=1.0,
    limit="at least 0.999",
    sentence="All of them.",
)
BROKEN = RuleResult(
    rule="Precision@1 no worse than the champion",
    passed=False,
    challenger=0.71,
    champion=0.8,
    difference=ConfidenceInterval(mean=-0.09, low=-0.12, high=-0.06),
    limit="at most 0.02 lower",
    sentence="It fell.",
)


def side(precisions: list[float], category: str = "rings") -> Side:
    """A release with a query for each of `precisions`, p000 first, all with the results p100 to p109."""
    count = len(precisions)
    queried = np.array([f"p{number:03d}" for number in range(count)], object)
    neighbours = np.array([[f"p{number}" for number in range(100, 110)]] * count, object)
    labels, metrics = np.array([category] * count, object), {"precision_at_10": np.array(precisions)}
    return Side(
        QueryResults(queried, labels, neighbours, metrics),
        lambda name: Product(name, category, f"hash {name}"),
    )


def images(hashes: set[str]) -> dict[str, bytes]:
    return {name: png_image(1) for name in hashes}


def queries(html: str) -> list[str]:
    """The queried products, in order: those whose names are below 100."""
    titles = [part.partition('"')[0] for part in html.split('<figure title="')[1:]]
    return list(dict.fromkeys(title.partition(",")[0] for title in titles if title.startswith("p0")))


def test_a_rejected_release_says_so_first_with_the_broken_rules_and_every_figure() -> None:
    html = page("release of refresh 7", Judgement([PASSED, BROKEN]), side([0.5]), side([0.6]), images)
    assert "<h1>Rejected</h1>" in html
    assert "<li><strong>Precision@1 no worse than the champion</strong>: It fell.</li>" in html
    for part in ("0.71", "0.8", "-0.0900", "-0.1200 to -0.0600", "at most 0.02 lower", "All of them."):
        assert part in html


def test_a_passed_release_says_so_and_marks_what_is_in_doubt() -> None:
    doubtful = BROKEN.model_copy(update={"passed": True, "doubtful": True})
    html = page("release of refresh 7", Judgement([PASSED, doubtful]), side([0.5]), side([0.6]), images)
    assert "<h1>Passed</h1>" in html
    assert "All 2 rules passed." in html
    assert html.count('class="state doubtful"') == 1


def test_queries_that_lost_most_come_first_then_those_that_gained_most() -> None:
    change = [0.0] * 20
    change[7], change[3] = -0.4, 0.5
    html = page("r", Judgement([PASSED]), side([0.5 + each for each in change]), side([0.5] * 20), images)
    shown = queries(html)
    assert len(shown) == 2 * QUERIES
    assert shown[0] == "p007"
    assert "p003" in shown[QUERIES:]


def test_the_first_release_shows_its_weakest_results() -> None:
    html = page("r", Judgement([PASSED]), side([0.9, 0.1, 0.5]), None, images)
    assert queries(html) == ["p001", "p002", "p000"]
    assert ">Champion</p>" not in html


def test_neighbours_of_the_query_category_are_framed_differently_from_others() -> None:
    mixed = replace(
        side([0.5]),
        product=lambda name: Product(name, "bags" if name == "p101" else "rings", f"hash {name}"),
    )
    html = page("r", Judgement([PASSED]), mixed, None, images)
    assert html.count('class="match"') == NEIGHBOURS - 1
    assert html.count('class="miss"') == 1


def test_a_missing_image_leaves_its_place_and_the_page_loads_nothing() -> None:
    html = page("r", Judgement([PASSED]), side([0.5]), side([0.6]), lambda hashes: {})
    assert "<img" in html
    assert "src=" not in html
    assert "http" not in page("r", Judgement([PASSED]), side([0.5]), None, images)


@pytest.mark.parametrize("where", ["title", "category", "sentence"])
def test_texts_of_a_feed_are_escaped(where: str) -> None:
    rule = PASSED.model_copy(update={"sentence": MARKUP}) if where == "sentence" else PASSED
    html = page(
        MARKUP if where == "title" else "r",
        Judgement([rule]),
        side([0.5], MARKUP if where == "category" else "rings"),
        None,
        images,
    )
    assert "<script" not in html
    assert "&lt;script&gt;" in html
