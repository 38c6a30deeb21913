from __future__ import annotations

import pytest

from recsim_local.console import echo


def test_a_text_is_one_line_of_stderr_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    echo("two\nlines about http://ada:secret@mlflow")
    assert capsys.readouterr() == ("", "two\\nlines about http://***@mlflow\n")
