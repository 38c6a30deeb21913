from __future__ import annotations

import pytest

from recsim_tasks.contracts import (
    GateResult,
    JobResult,
    PromoteResult,
    RegisterResult,
    ResumeResult,
    VerifyResult,
)


@pytest.mark.parametrize(
    ("result", "summary"),
    [
        (
            RegisterResult(version=7, previous=6, stage="Staging", verdict="rejected", mlflow_page="p"),
            "release 7 is registered in Staging, verdict rejected",
        ),
        (
            GateResult(version=7, verdict="rejected", reasons=["Recall fell."], mlflow_page="p"),
            "release 7 rejected: Recall fell.",
        ),
        (
            PromoteResult(version=7, previous=6, stage="Production"),
            "release 7 is in Production, instead of 6",
        ),
        (PromoteResult(version=1, previous=None, stage="Production"), "release 1 is in Production"),
        (
            VerifyResult(version=7, live=None, waited_seconds=None, reasons=["Nothing serves."]),
            "Nothing serves.",
        ),
        (ResumeResult(version=7, reasons=["Resumed."]), "Resumed."),
    ],
)
def test_the_summary_says_what_became_of_the_release(result: JobResult, summary: str) -> None:
    assert result.summary == summary
