from __future__ import annotations

import pytest
from pydantic import ValidationError

from recsim_tasks.contracts import Cursor, EmbedResult, Failure, JobResult, result_model
from recsim_tasks.contracts.base import Record

EMBEDDED = EmbedResult(embedded=1, reused=2, of=3, unembeddable=0)


def test_a_result_is_found_by_the_name_of_its_job() -> None:
    assert result_model("embed") is EmbedResult
    assert result_model("levitate") is None


def test_each_result_names_a_job_and_has_a_summary_of_its_own() -> None:
    for model in JobResult.__subclasses__():
        assert model.job
        assert model.summary is not JobResult.summary


def test_a_result_survives_json_and_cannot_be_changed() -> None:
    assert EmbedResult.model_validate_json(EMBEDDED.model_dump_json()) == EMBEDDED
    with pytest.raises(ValidationError, match="frozen"):
        EMBEDDED.embedded = 2  # type: ignore[misc]


def test_a_part_of_a_subclass_equals_the_part_that_is_read_back() -> None:
    class Part(Record):
        size: int

    class Annotated(Part):
        """The same part with behaviour."""

    class Whole(Record):
        part: Part

    whole = Whole(part=Annotated(size=1))
    assert type(whole.part) is Part
    assert Whole.model_validate_json(whole.model_dump_json()) == whole


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="sped_up"):
        EmbedResult.model_validate({**EMBEDDED.model_dump(), "sped_up": True})


def test_a_failure_ignores_the_fields_of_the_result_beside_it() -> None:
    failure = Failure.model_validate(
        {"error": "No.", "error_type": "rejected", "exit_code": 3, **EMBEDDED.model_dump()}
    )
    assert (failure.error_type, failure.exit_code) == ("rejected", 3)


def test_a_cursor_survives_json() -> None:
    assert Cursor.from_json(Cursor("t", 7).as_json()) == Cursor("t", 7)
