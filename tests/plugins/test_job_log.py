from __future__ import annotations

import logging

import pytest

from recsim_airflow.job_log import log_job_line
from recsim_tasks.foundation.logging import FORMAT, Formatter


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_a_line_of_a_job_keeps_its_level_and_its_logger(level: int, caplog: pytest.LogCaptureFixture) -> None:
    name, message = "recsim_tasks.release.bundle", "Release 2 has no canaries: %s of 8"
    line = Formatter(FORMAT).format(logging.LogRecord(name, level, "", 0, message, (3,), None))
    with caplog.at_level(logging.DEBUG):
        assert log_job_line(line) == "Release 2 has no canaries: 3 of 8"
    assert caplog.record_tuples == [(name, level, "Release 2 has no canaries: 3 of 8")]


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", "WARNING: deprecated", "50% of WARNING x: y", ""]
)
def test_a_line_without_a_level_is_logged_as_info(line: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert log_job_line(line) == line
    assert caplog.record_tuples == [("recsim_airflow.job_log", logging.INFO, line)]
