from __future__ import annotations

import json

from recsim_tasks.serving.problems import MAX_DETAIL_CHARS, problem_document


def test_a_detail_with_a_lone_surrogate_can_be_sent() -> None:
    document = json.loads(bytes(problem_document(422, "field \ud800: unknown").body))
    assert document["detail"] == "field \\ud800: unknown"


def test_a_detail_is_cut_to_the_limit() -> None:
    document = json.loads(
        bytes(problem_document(404, f"Product {'x' * 100_000} is not in this release.").body)
    )
    assert len(document["detail"]) == MAX_DETAIL_CHARS
