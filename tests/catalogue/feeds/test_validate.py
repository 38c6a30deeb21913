from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from catalogue.image_files import SIX, encoded, exif, product
from recsim_tasks.catalogue.feeds import validate
from recsim_tasks.catalogue.feeds.rows import RAW_COLUMNS
from recsim_tasks.foundation.errors import UnavailableError

WHOLE = encoded(product())


def record(**cells: Any) -> dict[str, Any]:
    return {**dict.fromkeys((*RAW_COLUMNS, "image")), "product_id": "p1", **cells}


def validated(**cells: Any) -> dict[str, Any]:
    row = record(**cells)
    return validate._validate(row, row["image"], Path("/nowhere"), 10_000)


@pytest.mark.parametrize(
    "error",
    [TypeError("float at 0x7f00aa"), KeyError(282), MemoryError(), RecursionError("deep"), AssertionError()],
)
def test_any_exception_of_a_row_becomes_its_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(validate, "parse_row", fail)
    row = validated(title="Boot", image=WHOLE)
    assert row["reason"].startswith(f"the row cannot be validated: {type(error).__name__}")
    assert "0x" not in row["reason"]
    assert (row["product_id"], row["image"], json.loads(row["row"])) == (
        "p1",
        WHOLE,
        {"product_id": "p1", "title": "Boot"},
    )


def test_an_interrupt_is_not_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "parse_row", fail)
    with pytest.raises(KeyboardInterrupt):
        validated()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ESTALE])
def test_an_error_of_the_machine_is_not_a_reason(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"never read")

    def fails_with(code: int) -> None:
        def read_bytes(path: Path) -> bytes:
            raise OSError(code, os.strerror(code), str(path))

        monkeypatch.setattr(Path, "read_bytes", read_bytes)

    fails_with(number)
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        validate._validate(record(image_path="a.png"), None, tmp_path, 10_000)
    fails_with(errno.EIO)
    reason = validate._validate(record(image_path="a.png"), None, tmp_path, 10_000)["reason"]
    assert "image_path 'a.png' cannot be read" in str(reason)


def test_an_image_with_a_malformed_resolution_is_valid() -> None:
    odd = encoded(product(), "JPEG", exif=b"Exif\0\0" + exif([SIX, (0x011A, 2, 3, b"72\0\0")]))
    for cells in ({"image": odd}, {"image_base64": base64.b64encode(odd).decode()}):
        row = validated(**cells)
        assert (row["reason"], row["image"]) == (None, odd)


@pytest.mark.parametrize(
    "field", [{"title": "\ud800"}, {"price": 10**400}, {"updated_at": 2**70}, {"in_stock": "x"}]
)
def test_a_row_that_arrow_cannot_store_does_not_affect_others(
    field: dict[str, Any],
) -> None:
    rows: list[validate.Row] = [
        {"number": n, "product_id": f"p{n}", "image": b"x", "row": None} for n in range(3)
    ]
    kept = validate._batch([rows[0], {**rows[1], **field}, rows[2]]).to_pylist()
    assert [row["product_id"] for row in kept] == ["p0", None, "p2"]
    assert "the row cannot be stored" in kept[1]["reason"]
    assert json.loads(kept[1]["row"])["product_id"] == "p1"


def test_the_arrow_batch_has_all_fields_of_valid_rows() -> None:
    row = {
        "number": 7,
        **validated(title="Boot", price="9.5", in_stock="1", updated_at="2026-11-24", image=WHOLE),
    }
    kept = validate._batch([row]).to_pylist()[0]
    assert {name: kept[name] for name in row} == row


def test_a_truncated_reason_shows_no_part_of_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("x" * 150 + " at https://ada:" + "swordfish" * 20 + "@shop.example")

    monkeypatch.setattr(validate, "parse_row", fail)
    assert "swordfish" not in validated()["reason"]


@pytest.mark.parametrize(
    "address",
    [
        "https://ada:swordfish@shop.example/a.jpg",
        "https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=swordfish",
    ],
)
@pytest.mark.parametrize(
    "cells", [{"image_path": "{}"}, {"fault": "the line ends early: {}", "copy": "p1,{}"}]
)
def test_reason_and_copy_of_a_row_have_no_credentials(address: str, cells: dict[str, str]) -> None:
    row = validated(**{name: text.format(address) for name, text in cells.items()})
    assert "shop.example" in row["row"] or "amazonaws" in row["row"]
    assert "***" in row["row"]
    assert "swordfish" not in row["reason"] + row["row"]
