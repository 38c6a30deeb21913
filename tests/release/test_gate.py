from __future__ import annotations

from dataclasses import replace

import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.gate import Verdict, judge
from recsim_tasks.vectors.verification import Verification

GOOD = {"precision_at_1": 0.9, "precision_at_10": 0.85, "ann_recall_at_10": 0.99}
SLICES = {"bags": {"queries": 60}, "shoes": {"queries": 40}}
SETTINGS = Settings.model_construct(gate_max_drop=0.02, gate_min_recall=0.95)


def measured(**changes: float) -> dict[str, object]:
    return {"metrics": {**GOOD, **changes}, "slices": SLICES}


LIKE_A_REBUILD = Verification(size=10, missing=0, unexpected=0, outdated=0, compared=10, differing=0, overlap=0.99, rebuilt_overlap=1.0)


def verdict_of(figures: dict[str, object], champion: dict[str, float] | None, **differences: float) -> Verdict:
    """The verdict on a challenger of `figures`, which are those on the champion's queries as well, whose index differs from a rebuild so."""
    compared = None if champion is None else (figures["metrics"], champion)
    return judge(SETTINGS, figures, compared, replace(LIKE_A_REBUILD, **differences))  # type: ignore[arg-type]


def broken(verdict: object) -> list[str]:
    return [reason.partition(":")[0] for reason in verdict.reasons] if verdict.verdict == "hold" else []  # type: ignore[attr-defined]


def test_a_pass_gives_the_sentence_of_every_rule() -> None:
    verdict = verdict_of(measured(), GOOD)
    assert verdict.verdict == "pass"
    assert len(verdict.reasons) == 5
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10"])
def test_a_release_may_lose_the_margin_and_no_more(name: str) -> None:
    assert verdict_of(measured(**{name: GOOD[name] - 0.0199}), GOOD).verdict == "pass"
    assert broken(verdict_of(measured(**{name: GOOD[name] - 0.0201}), GOOD)) == ["No worse than the champion"]


@pytest.mark.parametrize("value", [float("nan"), 0.949, -1.0])
def test_an_index_that_does_not_find_the_nearest_is_held(value: float) -> None:
    assert broken(verdict_of(measured(ann_recall_at_10=value), GOOD)) == ["Recall of the index"]


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ("missing", "1 are missing, 0 are too many"),
        ("unexpected", "1 are too many"),
        ("outdated", "1 are outdated"),
        ("differing", "1 of 10 vectors differ"),
    ],
)
def test_an_index_that_holds_other_products_than_a_rebuild_is_held(difference: str, said: str) -> None:
    verdict = verdict_of(measured(), GOOD, **{difference: 1})
    assert broken(verdict) == ["Same contents as a rebuild"]
    assert said in verdict.reasons[0]
    assert verdict.mended_by_rebuild


@pytest.mark.parametrize("overlap", [0.9899, float("nan")])
def test_an_index_that_finds_less_than_a_rebuild_is_held(overlap: float) -> None:
    verdict = verdict_of(measured(), GOOD, overlap=overlap)
    assert broken(verdict) == ["Same neighbours as a rebuild"]
    assert verdict.mended_by_rebuild


def test_a_rebuild_does_not_mend_a_model() -> None:
    assert not verdict_of(measured(precision_at_1=0.1), GOOD).mended_by_rebuild
    assert verdict_of(measured(precision_at_1=0.1, ann_recall_at_10=0.1), GOOD).mended_by_rebuild
    assert not verdict_of(measured(), GOOD).mended_by_rebuild


def test_the_first_release_must_beat_the_most_frequent_category() -> None:
    assert broken(verdict_of(measured(precision_at_1=0.6), None)) == ["Better than guessing"]
    assert verdict_of(measured(precision_at_1=0.61), None).verdict == "pass"


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "ann_recall_at_10"])
@pytest.mark.parametrize("lost", ["missing", "not a number"])
def test_a_figure_that_is_not_there_holds(name: str, lost: str) -> None:
    metrics = {k: v for k, v in GOOD.items() if k != name} | ({} if lost == "missing" else {name: float("nan")})
    assert verdict_of({"metrics": metrics, "slices": SLICES}, GOOD).verdict == "hold"
    if name != "ann_recall_at_10":
        assert verdict_of(measured(), metrics).verdict == "hold"


def test_a_hold_names_every_broken_rule_and_no_other() -> None:
    verdict = verdict_of(measured(precision_at_1=0.1, ann_recall_at_10=0.1), GOOD, missing=1)
    assert broken(verdict) == ["Recall of the index", "Same contents as a rebuild", "No worse than the champion"]
