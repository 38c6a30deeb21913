"""What a person or an operator gets from the command line when something is wrong: a sentence, an exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_tasks.foundation.settings import Settings


def recsim(*arguments: str, **variables: str) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON of the last line of stdout, the last line of stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "recsim_tasks.cli", *arguments], env=os.environ | variables, capture_output=True, text=True, timeout=120
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (("plan", "--refresh", "r"), {}, "There is no catalogue at"),
        (("query", "--product", "p"), {}, "No release is in Production yet"),
        (("query",), {}, "No release is in Production yet"),
        (("rollback",), {}, "release"),
        (("train", "--refresh", "r"), {}, "Run `recsim"),
        (("index", "append", "--refresh", "r"), {}, "Run `recsim plan"),
        (("ingest", "/nowhere"), {}, "no feed directory"),
        (("status",), {"RECSIM_GATE_MAX_DROP": "2"}, "gate_max_drop"),
        (("status",), {"RECSIM_TUNE_TRIALS": "many"}, "tune_trials"),
        (("status",), {"RECSIM_TYPO": "1"}, "Unknown setting RECSIM_TYPO"),
        (("status",), {"RECSIM_CONFIG": "/nowhere.toml"}, "RECSIM_CONFIG"),
        (("status",), {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "MLflow does not answer"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_with_exit_code_2(
    settings: Settings, arguments: tuple[str, ...], variables: dict[str, str], sentence: str
) -> None:
    code, result, last = recsim(*arguments, **variables)
    assert (code, result["exit_code"]) == (2, 2)
    assert sentence in str(result["error"])
    assert last == f"recsim {arguments[0]}: {result['error']}"
    assert not (settings.home / "tables").exists()


def test_an_empty_machine_has_a_status(settings: Settings) -> None:
    assert recsim("status", "--json")[:2] == (0, {"champion": None, "head": None, "behind": None, "held": None})


def test_an_image_that_is_none_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    assert recsim("query", "--image", str(tmp_path / "page.png"))[0] == 2
