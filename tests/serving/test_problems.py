from __future__ import annotations

import json

from recsim_tasks.serving.problems import MAX_DETAIL_CHARS, problem


def test_a_sentence_that_names_what_was_sent_can_be_sent_back() -> None:
    said = json.loads(bytes(problem(422, "field \ud800: unknown").body))
    assert said["detail"] == "field \\ud800: unknown"


def test_a_sentence_does_not_grow_with_what_was_sent() -> None:
    said = json.loads(bytes(problem(404, f"Product {'x' * 100_000} is not in this release.").body))
    assert len(said["detail"]) == MAX_DETAIL_CHARS
