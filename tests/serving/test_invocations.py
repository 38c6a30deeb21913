"""The forms of MLflow's protocol; test_routes.py sends them to a server."""

from __future__ import annotations

from typing import Any

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.serving.invocations import InvocationRequest


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["n", "image"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]}},
        {"dataframe_records": [{"image": "a", "n": 1}, {"image": "b"}]},
        {"inputs": {"image": ["a", "b"]}},
        {"inputs": [{"image": "a"}, {"image": "b"}]},
    ],
    ids=["split", "records", "columns", "rows"],
)
def test_every_form_gives_the_column_of_images(body: dict[str, Any]) -> None:
    assert InvocationRequest.model_validate(body).images() == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": {"image": ["a"]}, "dataframe_records": []},
        {"inputs": {"n": [1]}},
        {"inputs": {"image": [1]}},
    ],
    ids=["none", "two forms", "no image", "no text"],
)
def test_any_other_body_is_refused_with_what_to_send(body: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Send one of `dataframe_split`"):
        InvocationRequest.model_validate(body).images()
