from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.redaction import redact_from_now_on

log = logging.getLogger("recsim_tasks.catalogue.feeds.ingest")
ON_A_TERMINAL = """
import logging
from recsim_tasks.foundation.logging import configure
configure()
logging.getLogger("recsim_tasks.x").warning("[bold]Feed[/bold] 7 is on hold")
"""


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    root, package = logging.getLogger(), logging.getLogger("recsim_tasks")
    before = root.handlers, root.level, package.level
    yield
    root.handlers, root.level, package.level = before
    logging.captureWarnings(capture=False)


def test_a_line_begins_with_its_level_and_logger_and_stdout_gets_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    log.info("Feed %s: %d rows", "a", 3)
    log.warning("Feed a is on hold")
    assert capsys.readouterr() == (
        "",
        "INFO recsim_tasks.catalogue.feeds.ingest: Feed a: 3 rows\n"
        "WARNING recsim_tasks.catalogue.feeds.ingest: Feed a is on hold\n",
    )


def test_details_are_logged_only_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        configure(verbose)
        log.debug("a detail")
        logging.getLogger("py4j").info("a library's progress")
    assert capsys.readouterr().err == "DEBUG recsim_tasks.catalogue.feeds.ingest: a detail\n"


def test_a_message_of_several_lines_cannot_pass_for_another_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    log.info("Feed %s", "a\nERROR recsim_tasks: forged")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_traceback_follows_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    redact_from_now_on("correct horse")
    redact_from_now_on("a")
    try:
        raise ValueError("Authorization: Bearer correct horse at https://ada:PW@host")
    except ValueError as error:
        log.error("It failed", exc_info=error)
    printed = capsys.readouterr().err
    assert printed.endswith("ValueError: Authorization: Bearer *** at https://***@host\n")
    assert "test_logging.py" in printed


def test_a_terminal_gets_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", ON_A_TERMINAL], stderr=terminal, timeout=60, check=True)
    os.close(terminal)
    shown = os.read(screen, 65_536).decode()
    os.close(screen)
    assert "WARNING" in shown
    assert "[bold]Feed[/bold] 7 is on hold" in shown
