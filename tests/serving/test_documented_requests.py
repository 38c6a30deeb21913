"""The requests that the docs show are sent, and get the answers that the docs show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pages import FENCE, PAGES, SHELL, name
from release.bundles import png_image

PATH = re.compile(r"/(?:v1|health|invocations|metrics)\b\S*")
ID = re.compile(r"(?<=/v1/products/)[^/?]+")


def requests(page: Path) -> Iterator[tuple[str, Any]]:
    """The `curl` commands to the API, each with the answer in the JSON block that follows; None without."""
    found = FENCE.findall(page.read_text())
    for (kind, text), (next_kind, answer) in zip(found, [*found[1:], ("", "")], strict=False):
        commands = [
            line for line in text.replace("\\\n", " ").splitlines() if re.match(r"(?:\$ )?curl ", line)
        ]
        for command in commands if kind in SHELL else []:
            if PATH.search(command):
                yield command, json.loads(answer) if next_kind == "json" and command == commands[-1] else None


REQUESTS = [(page, command, answer) for page in PAGES for command, answer in requests(page)]


@pytest.mark.parametrize(
    ("command", "answer"),
    [pytest.param(command, answer, id=f"{name(page)}: {command}") for page, command, answer in REQUESTS],
)
def test_a_request_of_the_docs_gets_its_answer(command: str, answer: Any, client: TestClient) -> None:
    method, path, fields = parsed(command)
    image = png_image(7) if answer is None or "detail" not in answer else b"{}"
    files = [(field, image) for field, value in fields if value.startswith("@")]
    data = {field: value for field, value in fields if not value.startswith("@")}
    response = client.request(method, path, files=files or None, data=data or None)
    assert response.status_code == (answer or {}).get("status", 200), response.text
    if answer is not None:
        assert shape(response.json()) == shape(answer)
        assert response.json().get("detail") == answer.get("detail")


def parsed(command: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, path and form fields of a `curl` command, for a product of the tests."""
    words = shlex.split(command.removeprefix("$ ").partition(" | ")[0])
    address = next(word for word in words if PATH.search(word))
    fields = [words[at + 1].partition("=") for at, word in enumerate(words) if word == "-F"]
    match = PATH.search(address)
    assert match is not None
    path = ID.sub("p005", match[0])
    return ("POST" if fields else "GET"), path, [(field, value) for field, _, value in fields]


def shape(value: Any) -> Any:
    """The names and types of an answer; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def test_the_docs_show_a_search_by_image_and_one_by_product() -> None:
    shown = " ".join(command for _, command, answer in REQUESTS if answer)
    assert "/v1/similar" in shown
    assert "/similar?" in shown
