from __future__ import annotations

from typing import Any

from recsim_airflow.approval_texts import feed_question, literal, release_question
from recsim_tasks.contracts import ConfidenceInterval, FeedOnHold, RuleResult

FIGURE = {
    "guard": "max_withdrawn_share",
    "value": 0.9,
    "limit": 0.5,
    "sentence": "The feed would withdraw 900 of 1,000 products (90%); RECSIM_MAX_WITHDRAWN_SHARE allows 50%.",
}


def feed(**fields: Any) -> FeedOnHold:
    known = {"feed_id": "full-7", "digest": "0123456789abcdef" * 4, "folder": "/inbox/full-7"}
    return FeedOnHold.model_validate({**known, "figures": [FIGURE], "row_reasons": [], **fields})


def test_the_question_has_every_figure_and_names_the_feed() -> None:
    text = feed_question(feed())
    for part in (
        "900 of 1,000 products",
        "90.0%",
        "50.0%",
        "| withdrawn share |",
        literal("full-7"),
        "0123456789abcdef",
    ):
        assert part in text


def test_a_guard_of_categories_has_a_row_with_each_category() -> None:
    figures = [
        {**FIGURE, "guard": "max_withdrawn_category_share", "category": name} for name in ("rings", "T|shirt")
    ]
    text = feed_question(feed(figures=figures))
    assert "| withdrawn category share, rings | 90.0% | 50.0% |" in text
    assert r"| withdrawn category share, T\|shirt | 90.0% | 50.0% |" in text


def test_the_texts_of_a_feed_are_shown_literally() -> None:
    sentence = "Category '[x](http://evil) <img src=x>\n# big | **bold** $a$ \x1b[31m' moves."
    shown = feed_question(feed(figures=[{**FIGURE, "sentence": sentence}]))
    assert "](http" not in shown
    assert "\n# big" not in shown
    assert r"\[x\]\(http\:\/\/evil\) \<img src=x\> \# big \| \*\*bold\*\* \$a\$ \\x1b\[31m" in shown


def test_the_question_names_the_rows_for_quarantine_with_an_example() -> None:
    example = "p1: price '15.00 | USD' is not a number"
    reason = {"reason": "price … is not a number", "rows": 1_250, "example": example}
    assert rf"| 1,250 | price … is not a number | {literal(example)} |" in feed_question(
        feed(row_reasons=[reason])
    )
    assert "quarantine" not in feed_question(feed())


RULE = RuleResult(
    rule="Precision@1 no worse than the champion",
    passed=True,
    challenger=0.81234,
    champion=0.79,
    difference=ConfidenceInterval(mean=0.01, low=-0.002, high=0.018),
    limit="at most 0.02 lower",
    sentence="0.8123 against 0.79",
)
SIZE = RuleResult(
    rule="Every product is found",
    passed=True,
    challenger=1.0,
    limit="at least 0.999",
    sentence="every product is found",
)


def test_the_question_about_a_release_has_every_rule_and_a_link_to_the_results() -> None:
    text = release_question([RULE, SIZE], "http://mlflow:5000/#/verdict")
    assert "| Precision@1 no worse than the champion | 0.8123 | 0.79 | +0.0100 (-0.0020 to +0.0180) |" in text
    assert "| Every product is found | 1 |  |  |" in text
    assert "](http://mlflow:5000/#/verdict)" in text
    assert "](" not in release_question([RULE], "")
