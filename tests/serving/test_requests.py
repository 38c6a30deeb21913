from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.serving import requests
from recsim_tasks.serving.requests import MAX_INLINE_BYTES, MAX_JSON_VALUES, parse_json


@pytest.mark.parametrize(
    "value",
    [{"k": 1}, {"image": "a,[{" * 1000}, [[[]]], "", None, {"ä": "👟"}, {"rows": [[0] * 100] * 100}],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("ascii_", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_in_any_encoding_of_its_characters_is_parsed(value: Any, ascii_: bool, mark: bytes) -> None:
    assert parse_json(mark + json.dumps(value, ensure_ascii=ascii_).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * MAX_JSON_VALUES + b"0]",
        b"[" + b"{}," * MAX_JSON_VALUES + b"0]",
        b"[" * (MAX_JSON_VALUES + 1),
        b'{"a":[' * MAX_JSON_VALUES,
    ],
    ids=["numbers", "objects", "depth", "both"],
)
def test_too_many_values_are_refused_before_they_are_parsed(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(InputError, match="more than 100,000 values"):
        parse_json(body)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'"\xed\xa0\x80"', b"1" * 5_000, b"[" * 50_000, "{}".encode("utf-16")]
)
def test_anything_but_json_in_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPException, match="400"):
        parse_json(body)


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"\uDBFF": 1}', r'[[["\udc00\ud800"]]]'])
def test_a_lone_surrogate_anywhere_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        parse_json(text.encode())
    assert parse_json(rb'"\ud83d\ude00 \\ud800"') == "😀 \\ud800"


@pytest.mark.parametrize("path", ["/v1/similar", "/invocations"])
@pytest.mark.parametrize(("size", "apart"), [(100, False), (MAX_INLINE_BYTES + 1, True)])
def test_large_json_is_parsed_outside_of_the_event_loop(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, size: int, apart: bool
) -> None:
    in_thread = []

    def watched(body: bytes) -> Any:
        try:
            asyncio.get_running_loop()
            in_thread.append(False)
        except RuntimeError:
            in_thread.append(True)
        return parse_json(body)

    monkeypatch.setattr(requests, "parse_json", watched)
    client.post(
        path, content=b'{"image": "' + b"x" * size + b'"}', headers={"Content-Type": "application/json"}
    )
    assert in_thread == [apart]
