"""What every job of the command line has in common: settings, result, errors, exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from recsim_tasks.foundation.errors import HeldError, RecsimError
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import Settings, load_settings, parent_pid

Work = Callable[[Settings], dict[str, Any]]


def run(name: str, work: Work) -> None:
    """Do `work`, print its result as the last line of stdout, and leave with the exit code of the contract.

    0 done · 1 failed · 2 bad input or configuration · 3 held back. The reason also is the last line of stderr, without a traceback behind it.
    """
    try:
        if parent := parent_pid():
            die_with(parent)
        result, code = work(load_settings()), 0
    except RecsimError as error:
        result, code = _failure(name, error)
    except Exception as error:
        traceback.print_exc()
        result, code = _told(name, f"{_cause(error)}. This is a fault of the program or of its surroundings; the lines above say where."), 1
    sys.stderr.flush()
    print(json.dumps(result, default=str), flush=True)
    raise SystemExit(code)


def _cause(error: Exception) -> str:
    """The error in one line: of a JVM's, whose first line says that something was called, the innermost cause."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines[:1])[-1].rstrip(".")


def _failure(name: str, error: RecsimError) -> tuple[dict[str, Any], int]:
    extra = error.result if isinstance(error, HeldError) else {}
    return {**extra, **_told(name, str(error), error.exit_code)}, error.exit_code


def _told(name: str, sentence: str, code: int = 1) -> dict[str, Any]:
    print(f"recsim {name}: {sentence}", file=sys.stderr, flush=True)
    return {"error": sentence, "exit_code": code}
