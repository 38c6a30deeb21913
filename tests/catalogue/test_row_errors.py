from __future__ import annotations

import struct

import pytest

from recsim_tasks.catalogue.row_errors import MAX_LENGTH, reason_of


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("image file is truncated"), "image file is truncated"),
        (ValueError("cannot read <_io.BytesIO object at 0x7f12ab>"), "cannot read an object"),
        (MemoryError(), "MemoryError"),
        (struct.error("unpack requires a buffer of 4 bytes"), "it is truncated or damaged"),
        (KeyError(274), "KeyError 274"),
        (TypeError("float at 0x7f12ab\nsecond line"), "TypeError float at an object"),
        (ValueError("half \ud800 a character"), "half ? a character"),
    ],
)
def test_the_reason_is_one_line_and_equal_for_equal_errors(error: Exception, reason: str) -> None:
    assert reason_of(raised(error)) == reason


def test_a_long_message_is_truncated() -> None:
    assert len(reason_of(raised(ValueError("x" * 10_000)))) == MAX_LENGTH


def test_an_unexpected_error_is_logged_once_with_type_and_location(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        reason_of(raised(LookupError("which")))
        reason_of(raised(OSError("damaged")))
    (line,) = caplog.messages
    assert "LookupError" in line
    assert "test_row_errors.py:" in line
