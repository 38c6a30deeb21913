from __future__ import annotations

import errno
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose, outage_behind


def caught(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def write_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request_a_closed_port() -> None:
    urllib.request.urlopen(f"http://127.0.0.1:{closed_port()}/health", timeout=5)


def request_a_silent_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urllib.request.urlopen(f"http://127.0.0.1:{silent.getsockname()[1]}/health", timeout=0.2)


def hide(call: Callable[[], object], kind: type[Exception], text: str) -> Callable[[], None]:
    """`call`, its error wrapped as libraries do."""

    def hidden() -> None:
        try:
            call()
        except Exception as error:
            raise kind(text) from error

    return hidden


class LibraryError(Exception):
    """An error of a library that keeps the kernel's words alone."""


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (write_on_a_full_disk, UnavailableError, r"disk is full.* at the place \(No space left on device\)"),
        (hide(write_on_a_full_disk, LibraryError, "it failed"), UnavailableError, "disk is full"),
        (request_a_closed_port, UnavailableError, r"the place does not answer \(.*Connection refused"),
        (request_a_silent_server, UnavailableError, r"the place does not answer \(.*timed out"),
        (lambda: socket.getaddrinfo("nowhere.invalid", 1), UnavailableError, "the place does not answer"),
        (hide(request_a_closed_port, ValueError, "it failed"), UnavailableError, "Connection refused"),
    ],
)
def test_a_fault_of_the_machine_is_known_anywhere_in_the_chain(
    fault: Callable[[], None], kind: type[RecsimError], sentence: str
) -> None:
    known = diagnose(caught(fault), "the place")
    assert type(known) is kind
    with pytest.raises(kind, match=sentence):
        raise known


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.EDQUOT, UnavailableError, "a quota"),
        (errno.EFBIG, UnavailableError, "limit on file sizes"),
        (errno.EMFILE, UnavailableError, "ulimit -n"),
        (errno.ENFILE, UnavailableError, "ulimit -n"),
        (errno.EROFS, ConfigurationError, "/data/file is read-only"),
        (errno.EACCES, ConfigurationError, "This user may not use /data/file"),
        (errno.EPERM, ConfigurationError, "This user may not use /data/file"),
    ],
)
def test_each_number_of_the_kernel_has_its_sentence_with_the_path(
    number: int, kind: type[RecsimError], sentence: str
) -> None:
    known = diagnose(OSError(number, os.strerror(number), "/data/file"), "the place")
    assert type(known) is kind
    assert sentence in str(known)
    assert "/data/file" in str(known)
    assert os.strerror(number) in str(known)


@pytest.mark.parametrize(
    "number", [errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ESTALE]
)
def test_a_lost_connection_names_the_service_that_was_used(number: int) -> None:
    known = diagnose(OSError(number, os.strerror(number)), "the home", "the server")
    assert isinstance(known, UnavailableError)
    assert f"the server does not answer ({os.strerror(number)})" in str(known)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT ...]", UnavailableError),
        ("(sqlite3.OperationalError) database is locked", UnavailableError),
        ("(sqlite3.OperationalError) attempt to write a readonly database", ConfigurationError),
        (
            "The following failures occurred:\n##### File a #####\n[Errno 28] No space left on device",
            UnavailableError,
        ),
        (
            "An error occurred while calling o1.count.\n: E\n\tat a.B(C.java:1)\n"
            "Caused by: java.io.IOException: Too many open files",
            UnavailableError,
        ),
        (
            "Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET http://s3\n"
            "  \x1b[31m↳\x1b[0m error sending request",
            UnavailableError,
        ),
        ('Could not connect to the endpoint URL: "http://s3/b"', UnavailableError),
        ("Unable to locate credentials", ConfigurationError),
        ("API request failed: Max retries exceeded (too many 503 error responses)", UnavailableError),
        ("503 Server Error: Service Unavailable for url: http://mlflow/x", UnavailableError),
    ],
)
def test_what_a_library_kept_as_text_is_known_too(text: str, kind: type[RecsimError]) -> None:
    assert type(diagnose(LibraryError(text), "the place")) is kind


@pytest.mark.parametrize(
    "error",
    [
        KeyError("no space left on device"),
        ValueError("the line is not a JSON object: connection refused"),
        LibraryError(
            'Traceback:\n  File "a.py", line 1, in f\n    raise TimeoutError("timed out")\n'
            "ZeroDivisionError: division by zero"
        ),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/file"),
        LibraryError("404 Client Error: NOT FOUND for url: http://mlflow/x"),
    ],
)
def test_anything_else_is_no_outage(error: Exception) -> None:
    assert diagnose(error, "the place") is None


def test_a_verdict_that_an_outage_caused_is_that_outage() -> None:
    with pytest.raises(InputError) as judged:
        hide(write_on_a_full_disk, InputError, "The feed is not Parquet.")()
    assert isinstance(outage_behind(judged.value, "the feed"), UnavailableError)
    assert outage_behind(InputError("The feed is not Parquet."), "the feed") is None


def test_a_locked_database_is_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    error = caught(lambda: sqlite3.connect(path, timeout=0).execute("SELECT * FROM t"))
    assert isinstance(diagnose(error, str(path)), UnavailableError)
    holder.close()


@pytest.mark.parametrize(
    ("limit", "program", "sentence"),
    [
        (resource.RLIMIT_NOFILE, "files = [open(path, 'w') for _ in range(99)]", "Too many open files"),
        (resource.RLIMIT_FSIZE, "open(path, 'w').write('x' * 9999)", "File too large"),
    ],
)
def test_a_limit_of_the_process_is_named(tmp_path: Path, limit: int, program: str, sentence: str) -> None:
    head = "import sys; path = sys.argv[1]; from recsim_tasks.foundation.outages import diagnose"
    diagnosis = "known = diagnose(error, path); print(type(known).__name__, known)"
    script = f"{head}\ntry:\n    {program}\nexcept OSError as error:\n    {diagnosis}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        preexec_fn=lambda: resource.setrlimit(limit, (64, 64)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("UnavailableError")
    assert sentence in done.stdout
    assert str(tmp_path / "file") in done.stdout
