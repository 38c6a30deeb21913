from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.foundation import redaction
from recsim_tasks.foundation.redaction import first_line, redacted

URI_CHARACTERS = st.characters(codec="ascii", categories=("L", "N", "P", "S"), exclude_characters="@/?#:")


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    known = set(redaction._secrets)
    redaction._secrets.clear()
    yield
    redaction._secrets.clear()
    redaction._secrets.update(known)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("MLflow at http://ada:PW@host:5000 fails", "MLflow at http://***@host:5000 fails"),
        ("postgresql+psycopg://ada:p%40ss@db/mlflow", "postgresql+psycopg://***@db/mlflow"),
        ("postgresql://ada:p@ss@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql://ada:p/a?s#s@db/mlflow", "postgresql://***@db/mlflow"),
        ("mysql://ada:12/34a@db/x", "mysql://ada:12/34a@db/x"),  # as a host and its port are written
        ("'s3://KEY:SECRET@lake/products'", "'s3://***@lake/products'"),
        ("https://token@host/x and http://ada:PW@other", "https://***@host/x and http://***@other"),
        ("redis://:PW@cache/0", "redis://***@cache/0"),
        ("https://b.s3.amazonaws.com/a.jpg?X-Amz-Credential=AK%2F1&X-Amz-Signature=0a1b&v=2", None),
        (
            "https://b.blob.core.windows.net/a.jpg?sv=1&sig=0a1b%3D",
            "https://b.blob.core.windows.net/a.jpg?sv=1&sig=***",
        ),
        ("mysql://db/mlflow?user=ada&password=PW", "mysql://db/mlflow?user=ada&password=***"),
    ],
)
def test_a_uri_is_shown_without_its_credentials(text: str, safe: str | None) -> None:
    assert redacted(text) == (
        safe or "https://b.s3.amazonaws.com/a.jpg?X-Amz-Credential=***&X-Amz-Signature=***&v=2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.example/img/shoe@2x.png?w=2",
        "http://127.0.0.1:5000/#/models/recsim@champion",
        "sqlite:////home/ada@work/mlflow.db",
        "the image 'a@b.jpg' does not decode; ask ada@shop.example",
        "s3a://lake/products",
        "path?side=64&k=10",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text) == text


@given(user=st.text(URI_CHARACTERS, min_size=1), password=st.text(URI_CHARACTERS, min_size=1))
def test_no_password_of_any_characters_is_shown(user: str, password: str) -> None:
    assert redacted(f"at https://{user}:{password}@host/x now") == "at https://***@host/x now"


@pytest.mark.parametrize("piece", ["://a:b", "://", "://a", "?token=", "@", "://a:1/"])
def test_a_long_text_takes_no_longer_for_what_it_holds(piece: str) -> None:
    began = time.process_time()
    redacted(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 5, "it would be hours in quadratic time"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no key in s3://ada:secret@lake.\nTraceback"), "no key in s3://***@lake"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 400), "x" * 300),
    ],
    ids=["secret", "empty", "long"],
)
def test_the_first_line_of_an_error_is_short_and_has_no_secret(error: Exception, line: str) -> None:
    assert first_line(error) == line
