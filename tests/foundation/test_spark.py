from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_tasks.foundation import spark
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import Settings

SILENT = """
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.spark import spark_session

with spark_session(load_settings(), "silent") as spark:
    spark.range(10).count()
    log = spark._jvm.org.apache.logging.log4j.LogManager.getLogger("shop")
    log.warn("not for operators")
    log.error("out of coffee")
"""


def test_a_master_that_does_not_answer_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"spark://127.0.0.1:1 \(RECSIM_SPARK_MASTER\)"):
        spark._check_master("spark://127.0.0.1:1")
    spark._check_master("local[2]")
    spark._check_master("yarn")


def test_delta_jars_count_only_in_the_installed_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(spark, "_coordinates", lambda: "io.delta:delta-spark_4.0_2.13:4.4.0")
    jars = tmp_path / ".ivy2.5.2" / "jars"
    jars.mkdir(parents=True)
    (jars / "io.delta_delta-spark_4.0_2.13-4.3.0.jar").touch()
    assert spark.delta_jars() == []
    (jars / "io.delta_delta-spark_4.0_2.13-4.4.0.jar").touch()
    assert len(spark.delta_jars()) == 2


@pytest.mark.parametrize(("master", "is_local"), [("local[2]", True), ("spark://driver:7077", False)])
def test_the_driver_is_on_loopback_only_for_a_local_master(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, master: str, is_local: bool
) -> None:
    monkeypatch.setattr(spark, "delta_jars", lambda: [Path("/jars/delta.jar")])
    configuration = spark._configuration(settings.model_copy(update={"spark_master": master}), "job")
    assert ("spark.driver.host" in configuration) == is_local
    assert configuration["spark.jars"] == "/jars/delta.jar"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "An error occurred while calling o1.\n: java.io.IOException: no jars.\n\tat x",
            "java.io.IOException: no jars.",
        ),
        ("one line", "one line."),
        ("", "ValueError."),
    ],
)
def test_the_reason_of_a_jvm_error_is_the_line_with_the_exception(message: str, reason: str) -> None:
    assert spark._reason(ValueError(message)) == reason


@pytest.mark.spark
def test_spark_starts_without_a_word_and_its_errors_have_the_format_of_the_log(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT], env=os.environ, capture_output=True, text=True, timeout=120
    )
    lines = [line for line in done.stderr.splitlines() if "incubator modules" not in line]
    assert [line for line in lines if not line.startswith("ERROR shop: ")] == []
    assert len(lines) == 1
