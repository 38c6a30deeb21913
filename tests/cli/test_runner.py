"""When something is wrong, the command line says so in a sentence, with an exit code, and cleans up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from recsim_tasks.foundation.settings import Settings

pytestmark = pytest.mark.process

Done = tuple[int, dict[str, object], str]
RECSIM = [sys.executable, "-m", "recsim_tasks.cli.main"]


def recsim(*arguments: str | bytes, **variables: str) -> Done:
    """Exit code, the JSON of the last line of stdout, the last line of stderr."""
    return run([*RECSIM, *arguments], **variables)


def run(command: Sequence[str | bytes], **variables: str) -> Done:
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)
    return (
        done.returncode,
        json.loads(done.stdout.splitlines()[-1]),
        (done.stderr.strip().splitlines() or [""])[-1],
    )


def recsim_on(disk: Path, options: str, *arguments: str) -> Done:
    """Run `recsim` with its home on a disk that is mounted with `options` for this process only."""
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run(
        [*namespace, "mount", "-t", "tmpfs", "none", str(disk)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine refuses to mount a disk in a namespace")
    script = 'mount -t tmpfs -o "$1" none "$2"; shift 2; exec "$@"'
    return run(
        [*namespace, "bash", "-c", script, "bash", options, str(disk), *RECSIM, *arguments],
        RECSIM_HOME=str(disk / "home"),
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (("plan", "--refresh", "r"), {}, "There is no catalogue at"),
        (("query", "--product", "p"), {}, "No release is in Production yet"),
        (("query",), {}, "Give either --image FILE or --product ID"),
        (("query", "--product", "p", "--image", __file__), {}, "not both"),
        (
            ("query", "--product", "p", "--min-price", "-1"),
            {},
            "min_price: Input should be greater than or equal to 0",
        ),
        (("query", "--product", "p", "--max-price", "nan"), {}, "max_price: Input should be a finite number"),
        (
            ("query", "--product", "p", "--category", b"\xff"),
            {},
            "categories.0: Value error, the text is not valid Unicode",
        ),
        (
            ("query", "--product", "p", *["--exclude", "q"] * 1001),
            {},
            "exclude: List should have at most 1000 items",
        ),
        (("rollback",), {}, "release"),
        (("train", "--refresh", "r"), {}, "Run `recsim"),
        (("index", "append", "--refresh", "r"), {}, "Run `recsim plan"),
        (("ingest", "/nowhere"), {}, "no feed directory"),
        (("status",), {"RECSIM_GATE_MAX_DROP": "2"}, "gate_max_drop"),
        (("status",), {"RECSIM_TUNE_TRIALS": "many"}, "tune_trials"),
        (("status",), {"RECSIM_TYPO": "1"}, "Unknown setting RECSIM_TYPO"),
        (("status",), {"RECSIM_CONFIG": "/nowhere.toml"}, "RECSIM_CONFIG"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_with_exit_code_2(
    settings: Settings, arguments: tuple[str | bytes, ...], variables: dict[str, str], sentence: str
) -> None:
    code, result, last = recsim(*arguments, **variables)
    assert (code, result["exit_code"]) == (2, 2)
    assert sentence in str(result["error"])
    assert last == f"ERROR recsim_tasks.cli.runner: recsim {arguments[0]!s}: {result['error']}"
    assert not (settings.home / "tables").exists()


def test_an_empty_machine_has_a_status(settings: Settings) -> None:
    code, result, _ = recsim("status", "--json")
    assert code == 0
    assert float(str(result.pop("elapsed_seconds"))) >= 0
    assert result == {"champion": None, "head": None, "behind": None, "frozen": None, "problem": None}


def test_an_image_that_is_none_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    assert recsim("query", "--image", str(tmp_path / "page.png"))[0] == 2


def test_a_service_that_is_away_is_exit_1_and_the_result_says_so_to_programs(settings: Settings) -> None:
    code, result, last = recsim("status", MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert (code, result["exit_code"], result["error_type"]) == (1, 1, "unavailable")
    assert "MLflow at http://127.0.0.1:1 (MLFLOW_TRACKING_URI) does not answer (Connection refused)" in str(
        result["error"]
    )
    assert last == f"ERROR recsim_tasks.cli.runner: recsim status: {result['error']}"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "http://ada:swordfish@127.0.0.1:1",
            "MLflow at http://127.0.0.1:1 (MLFLOW_TRACKING_URI) does not answer",
        ),
        ("postgresql://ada:sword/fish@127.0.0.1:1/mlflow", "postgresql://***@127.0.0.1:1/mlflow"),
        ("strange://ada:sword/fish@127.0.0.1:1/mlflow", "strange://***@127.0.0.1:1/mlflow"),
        (
            "mysql+pymysql://ada:sword/fish@db/mlflow",
            "MLflow at mysql+pymysql://***@db/mlflow (MLFLOW_TRACKING_URI) needs the Python package pymysql",
        ),
    ],
)
def test_no_output_and_no_file_shows_the_credentials_of_mlflow(
    settings: Settings, uri: str, shown: str
) -> None:
    done = subprocess.run(
        [*RECSIM, "status"],
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=120,
    )
    files = "".join(path.read_text(errors="replace") for path in settings.home.rglob("*") if path.is_file())
    assert done.returncode in (1, 2)
    assert shown in done.stdout
    assert not [word for word in ("sword", "fish") if word in done.stdout + done.stderr + files]


@pytest.mark.parametrize(
    ("options", "code", "error_type", "sentence"),
    [
        ("size=64k", 1, "unavailable", "The disk is full"),
        ("ro", 2, "configuration", "is read-only (Read-only file system)"),
    ],
)
def test_a_disk_that_takes_nothing_is_named_with_its_path(
    settings: Settings, tmp_path: Path, options: str, code: int, error_type: str, sentence: str
) -> None:
    got, result, last = recsim_on(tmp_path, options, "status")
    assert (got, result["exit_code"], result["error_type"]) == (code, code, error_type)
    assert sentence in str(result["error"])
    assert str(tmp_path / "home" / "mlflow") in str(result["error"])
    assert (
        last == f"ERROR recsim_tasks.cli.runner: recsim status: {result['error']}"
    )  # a sentence, and no traceback behind it


def test_an_object_store_that_is_away_is_not_a_catalogue_that_does_not_exist(settings: Settings) -> None:
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x"}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "RECSIM_PRODUCTS": "s3://lake/products"}
    code, result, _ = recsim("plan", "--refresh", "r", **away, **keys)
    assert (code, result["error_type"]) == (1, "unavailable")
    assert "the table s3://lake/products does not answer" in str(result["error"])
