from __future__ import annotations

import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.gate import Verdict, judge

GOOD = {"precision_at_1": 0.9, "precision_at_10": 0.85, "ann_recall_at_10": 0.99}
SLICES = {"bags": {"queries": 60}, "shoes": {"queries": 40}}
SETTINGS = Settings.model_construct(gate_max_drop=0.02, gate_min_recall=0.95)


def measured(**changes: float) -> dict[str, object]:
    return {"metrics": {**GOOD, **changes}, "slices": SLICES}


def verdict_of(figures: dict[str, object], champion: dict[str, float] | None, size: int, products: int) -> Verdict:
    """The verdict on a challenger of `figures`, which are those on the champion's queries as well."""
    compared = None if champion is None else (figures["metrics"], champion)
    return judge(SETTINGS, figures, compared, size, products)  # type: ignore[arg-type]


def broken(verdict: object) -> list[str]:
    return [reason.partition(":")[0] for reason in verdict.reasons] if verdict.verdict == "hold" else []  # type: ignore[attr-defined]


def test_a_pass_gives_the_sentence_of_every_rule() -> None:
    verdict = verdict_of(measured(), GOOD, 10, 10)
    assert verdict.verdict == "pass"
    assert len(verdict.reasons) == 4
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10"])
def test_a_release_may_lose_the_margin_and_no_more(name: str) -> None:
    assert verdict_of(measured(**{name: GOOD[name] - 0.0199}), GOOD, 10, 10).verdict == "pass"
    assert broken(verdict_of(measured(**{name: GOOD[name] - 0.0201}), GOOD, 10, 10)) == ["No worse than the champion"]


@pytest.mark.parametrize("value", [float("nan"), 0.949, -1.0])
def test_an_index_that_does_not_find_the_nearest_is_held(value: float) -> None:
    assert broken(verdict_of(measured(ann_recall_at_10=value), GOOD, 10, 10)) == ["Recall of the index"]


@pytest.mark.parametrize("size", [9, 11])
def test_an_index_of_another_size_than_the_catalogue_is_held(size: int) -> None:
    verdict = verdict_of(measured(), GOOD, size, 10)
    assert broken(verdict) == ["Complete"]
    assert f"the index holds {size} products, the catalogue at this version 10" in verdict.reasons[0]


def test_the_first_release_must_beat_the_most_frequent_category() -> None:
    assert broken(verdict_of(measured(precision_at_1=0.6), None, 10, 10)) == ["Better than guessing"]
    assert verdict_of(measured(precision_at_1=0.61), None, 10, 10).verdict == "pass"


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "ann_recall_at_10"])
@pytest.mark.parametrize("lost", ["missing", "not a number"])
def test_a_figure_that_is_not_there_holds(name: str, lost: str) -> None:
    metrics = {k: v for k, v in GOOD.items() if k != name} | ({} if lost == "missing" else {name: float("nan")})
    assert verdict_of({"metrics": metrics, "slices": SLICES}, GOOD, 10, 10).verdict == "hold"
    if name != "ann_recall_at_10":
        assert verdict_of(measured(), metrics, 10, 10).verdict == "hold"


def test_a_hold_names_every_broken_rule_and_no_other() -> None:
    verdict = verdict_of(measured(precision_at_1=0.1, ann_recall_at_10=0.1), GOOD, 9, 10)
    assert broken(verdict) == ["Recall of the index", "Complete", "No worse than the champion"]
