from __future__ import annotations

import pytest

from recsim_tasks.contracts import (
    ChampionStatus,
    Cursor,
    DoctorResult,
    FeedReleaseResult,
    JobResult,
    MaintainResult,
    ProductionPeriod,
    QueryResult,
    ReleasesResult,
    StatusResult,
)

CHAMPION = ChampionStatus(version=7, cursor=Cursor("t", 3), size=2, model_fingerprint="f")
EMPTY = StatusResult(champion=None, head=None, behind=None, frozen=None, problem=None)
PERIOD = ProductionPeriod.model_validate(
    {"version": 7, "from": 1.0, "to": None, "by": "ada", "through": "cli", "why": "new"}
)


@pytest.mark.parametrize(
    ("result", "summary"),
    [
        (EMPTY, "no release is in Production"),
        (EMPTY.model_copy(update={"champion": CHAMPION}), "release 7 is in Production"),
        (ReleasesResult(releases=[PERIOD]), "1 periods in Production"),
        (
            FeedReleaseResult(feed_id="a", catalogue_version=3, taken_in=1.0, first_served=PERIOD),
            "feed a was first served by release 7",
        ),
        (
            FeedReleaseResult(feed_id="a", catalogue_version=None, taken_in=None, first_served=None),
            "feed a has not been served yet",
        ),
        (QueryResult(release=7, results=[]), "0 products from release 7"),
        (
            MaintainResult(tables={}, models_forgotten=2),
            "0 tables maintained, embeddings of 2 encoders removed",
        ),
        (DoctorResult(ok=True, findings=[]), "0 checks, all ok"),
    ],
)
def test_the_summary_answers_the_question(result: JobResult, summary: str) -> None:
    assert result.summary == summary


def test_a_period_is_written_with_from_and_to() -> None:
    assert PERIOD.model_dump(by_alias=True)["from"] == 1.0
    assert ProductionPeriod.model_validate_json(PERIOD.model_dump_json()) == PERIOD
