from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsim_tasks.release.evaluation.bootstrap import Interval
from recsim_tasks.release.evaluation.queries import Answered
from recsim_tasks.release.gate.gate import Verdict
from recsim_tasks.release.gate.report import NEIGHBOURS, QUERIES, Side, page
from recsim_tasks.release.gate.rules import Rule
from release.bundles import picture

MARKUP = "<script>alert(1)</script>"
KEPT = Rule("Every product is found", True, 1.0, None, None, "at least 0.999", "All of them.")
BROKEN = Rule(
    "Precision@1 no worse than the champion",
    False,
    0.71,
    0.8,
    Interval(-0.09, -0.12, -0.06),
    "at most 0.02 lower",
    "It fell.",
)


def side(right: list[float], category: str = "rings") -> Side:
    """A release that is asked for as many products as `right` has shares, p000 first, each answered with p100 to p109."""
    count = len(right)
    asked = np.array([f"p{number:03d}" for number in range(count)], object)
    nearest = np.array([[f"p{number}" for number in range(100, 110)]] * count, object)
    products = {str(name): (category, f"hash {name}") for name in [*asked, *nearest[0]]}
    return Side(
        Answered(asked, np.array([category] * count, object), nearest, {"precision_at_10": np.array(right)}),
        products.__getitem__,
    )


def pictures(hashes: set[str]) -> dict[str, bytes]:
    return {name: picture(1) for name in hashes}


def queries(html: str) -> list[str]:
    """What is asked for, in order: the products whose names are below 100."""
    titles = [part.partition('"')[0] for part in html.split('<figure title="')[1:]]
    return list(dict.fromkeys(title.partition(",")[0] for title in titles if title.startswith("p0")))


def test_a_held_release_says_so_first_and_every_rule_has_both_figures_and_the_interval() -> None:
    html = page("release of refresh 7", Verdict([KEPT, BROKEN]), side([0.5]), side([0.6]), pictures)
    assert '<h1 class="hold">Held</h1>' in html
    assert '<p class="hold">Precision@1 no worse than the champion: It fell.</p>' in html
    for part in ("0.71", "0.8", "-0.0900", "-0.1200 to -0.0600", "at most 0.02 lower", "All of them."):
        assert part in html


def test_queries_that_lost_most_come_first_then_those_that_gained_most() -> None:
    change = [0.0] * 20
    change[7], change[3] = -0.4, 0.5
    html = page("r", Verdict([KEPT]), side([0.5 + each for each in change]), side([0.5] * 20), pictures)
    shown = queries(html)
    assert len(shown) == 2 * QUERIES
    assert shown[0] == "p007"
    assert "p003" in shown[QUERIES:]


def test_the_first_release_shows_what_it_answers_worst() -> None:
    html = page("r", Verdict([KEPT]), side([0.9, 0.1, 0.5]), None, pictures)
    assert queries(html) == ["p001", "p002", "p000"]
    assert "the champion answers" not in html


def test_neighbours_of_the_right_category_are_framed_otherwise_than_wrong_ones() -> None:
    mine = side([0.5])
    mine = replace(mine, product=lambda name: ("bags" if name == "p101" else "rings", f"hash {name}"))
    html = page("r", Verdict([KEPT]), mine, None, pictures)
    assert html.count('class="own"') == NEIGHBOURS - 1
    assert html.count('class="other"') == 1


def test_a_picture_that_is_gone_leaves_its_place_and_the_page_loads_nothing() -> None:
    html = page("r", Verdict([KEPT]), side([0.5]), side([0.6]), lambda hashes: {})
    assert "<img" in html
    assert "src=" not in html
    assert "http" not in page("r", Verdict([KEPT]), side([0.5]), None, pictures)


@pytest.mark.parametrize("where", ["title", "category", "sentence"])
def test_what_a_feed_says_is_shown_letter_by_letter(where: str) -> None:
    rule = KEPT._replace(sentence=MARKUP) if where == "sentence" else KEPT
    html = page(
        MARKUP if where == "title" else "r",
        Verdict([rule]),
        side([0.5], MARKUP if where == "category" else "rings"),
        None,
        pictures,
    )
    assert "<script" not in html
    assert "&lt;script&gt;" in html
