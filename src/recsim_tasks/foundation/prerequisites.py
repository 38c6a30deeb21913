"""Check what a machine must have before installation, and name what is missing.

`recsim doctor` uses the module, and so does `.ci/prepare.py`, with any `python3` before there is an
environment: it needs only the standard library and the syntax of Python 3.6.
"""

import glob
import os
import platform
import re
import shutil
import subprocess
import tempfile
from typing import Iterator, List, NamedTuple, Optional, Tuple

GIB = 2**30
DISK_BEFORE_INSTALL_GIB = 8
DISK_AFTER_INSTALL_GIB = 2
MEMORY_GIB = 7  # what a machine sold as 8 GB reports
JAVA = 17
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What a Debian package can provide: the check's name, and the packages that pass it, the best one first.
PACKAGES = {
    "Python 3.11": ("python3.11",),
    "Python's headers": ("python3.11-dev",),
    "Java 17": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "C++17 compiler": ("g++",),
    "make": ("make",),
    "Chromium": ("chromium",),
    "wrk": ("wrk",),
}
# Where pyenv and uv keep Pythons that are not on the PATH, and where `.ci/private_uv.py` puts one.
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PRIVATE_PYTHONS = os.path.join(ROOT, ".tools", "python")
PYTHON_REPORT = """import os, sys, sysconfig
headers = os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h"))
print(*sys.version_info[:2], sys.version_info.releaselevel, headers, os.path.realpath(sys._base_executable))
"""
CPP17 = """#include <optional>
#include <utility>
template <class T> int holds(std::optional<T> v) {
  if constexpr (sizeof(T) > 0) return v.has_value(); else return 0;
}
int main() { auto [a, b] = std::pair<int, int>(1, 2); return holds(std::optional<int>(a + b)) - 1; }
"""


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    ok: bool
    detail: str
    """What was found, or what is wrong: part of a sentence."""
    remedy: str
    """What to do, mostly a command; empty if `ok`."""
    away: bool = False
    """Whether this is an outage, such as a full disk, not a fault."""


def examine() -> List[Finding]:
    """Check everything that installation and jobs need, whether or not the check before failed."""
    checks = (_system, _python, _headers, _java, _compiler, _make, _disk, _memory)
    return [check() for check in checks]


def examine_tests() -> List[Finding]:
    """Check what only tests, benchmarks and screenshots need."""
    return [_browser(), _wrk()]


def find_python() -> Optional[str]:
    """Path of a Python 3.11 that starts, preferably one with headers: on the PATH, or of pyenv or uv.

    Release candidates, such as Ubuntu 22.04's package, do not count.
    """
    without_headers = None
    for candidate in _pythons():
        path, headers = _describe(candidate) or (None, False)
        if headers:
            return path
        without_headers = without_headers or path
    return without_headers


def find_browser() -> Optional[str]:
    """Path of a browser that Playwright can drive."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def find_playwrights_browser() -> Optional[str]:
    """Folder of a Chromium that Playwright fetched, which it finds by itself."""
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or os.path.expanduser("~/.cache/ms-playwright")
    complete = glob.glob(os.path.join(glob.escape(cache), "chromium*", "INSTALLATION_COMPLETE"))
    return os.path.dirname(complete[0]) if complete else None


def missing(findings: List[Finding]) -> str:
    """One line for each failed check, with the remedy."""
    return "\n".join(
        f"  {finding.name}: {finding.detail}. {finding.remedy}" for finding in findings if not finding.ok
    )


def _system() -> Finding:
    platform_name = f"{platform.system()} on {platform.machine()}"
    ok = platform_name in ("Linux on x86_64", "Linux on AMD64")
    return Finding(
        "Linux x86-64",
        ok,
        "this is " + platform_name,
        "" if ok else "Use a Linux x86-64 machine, a virtual machine or WSL 2.",
    )


def _python() -> Finding:
    python = find_python()
    remedy = _install("Python 3.11") + " (where there is no such package: pyenv install 3.11)"
    return Finding(
        "Python 3.11",
        python is not None,
        python or "none on the PATH or installed by pyenv or uv",
        "" if python else remedy,
    )


def _headers() -> Finding:
    """Extensions are compiled against them; distributions package them separately."""
    python = find_python()
    if python is None:
        return Finding("Python's headers", True, "not checked without a Python 3.11", "")
    _, ok = _describe(python) or (None, False)
    return Finding(
        "Python's headers",
        ok,
        "Python.h of " + python if ok else python + " has no Python.h",
        "" if ok else _install("Python's headers"),
    )


def _pythons() -> Iterator[str]:
    """Whatever may be a Python 3.11: a version manager has a shim for those that are not selected, too."""
    for name in ("python3.11", "python3", "python"):
        for folder in os.get_exec_path():
            path = shutil.which(name, path=folder)
            if path:
                yield path
    pyenv = os.path.join(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.expanduser("~/.local/share/uv/python")
    for installed in (pyenv, PRIVATE_PYTHONS, uv):
        yield from sorted(glob.glob(os.path.join(glob.escape(installed), "*3.11*", "bin", "python3.11")))


def _describe(python: str) -> Optional[Tuple[str, bool]]:
    """The path of a Python 3.11, outside any environment, and whether it has its headers; None for others."""
    answer = (_output([python, "-I", "-c", PYTHON_REPORT]) or "").strip().split(" ", 4)
    if answer[:3] != ["3", "11", "final"]:
        return None
    return answer[4], answer[3] == "True"


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"  # as Spark chooses
    version = _output([java, "-version"])
    match = re.search(r'version "(?:1\.)?(\d+)', version or "")
    ok = match is not None and int(match.group(1)) >= JAVA
    if match:
        detail = f"{java} is Java {match.group(1)}"
    else:
        detail = f"{java} does not run" if home else "no java on the PATH, or it does not run"
    if home and not ok:  # which no package mends
        remedy = f"Unset JAVA_HOME, or set it to the folder of a Java {JAVA} or later."
        return Finding("JAVA_HOME", False, detail, remedy)
    return Finding("Java 17", ok, detail, "" if ok else _install("Java 17"))


def _compiler() -> Finding:
    remedy = _install("C++17 compiler")
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        return Finding("C++17 compiler", False, "no c++, g++ or clang++ on the PATH", remedy)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.cc")
        with open(source, "w") as file:
            file.write(CPP17)
        ok = _output([compiler, "-std=c++17", source, "-o", os.path.join(folder, "probe")]) is not None
    return Finding(
        "C++17 compiler", ok, compiler if ok else compiler + " does not compile C++17", "" if ok else remedy
    )


def _make() -> Finding:
    ok = _output(["make", "--version"]) is not None
    return Finding(
        "make",
        ok,
        "make" if ok else "no make on the PATH, or it does not run",
        "" if ok else _install("make"),
    )


def _browser() -> Finding:
    browser = find_browser() or find_playwrights_browser()
    return Finding(
        "Chromium",
        bool(browser),
        browser or "none on the PATH; the tests open the shop with it",
        "" if browser else _install("Chromium"),
    )


def _wrk() -> Finding:
    wrk = shutil.which("wrk")
    return Finding(
        "wrk",
        bool(wrk),
        wrk or "none on the PATH; the serving benchmark needs it",
        "" if wrk else _install("wrk"),
    )


def _disk() -> Finding:
    needed = DISK_AFTER_INSTALL_GIB if os.path.isdir(".venv") else DISK_BEFORE_INSTALL_GIB
    free = shutil.disk_usage(".").free / GIB
    remedy = f"Free {needed:.0f} GiB here, or put the checkout on another disk."
    ok = free >= needed
    return Finding(
        "Disk space",
        ok,
        f"{free:.1f} of {needed} GiB free in {os.getcwd()}",
        "" if ok else remedy,
        not ok,
    )


def _memory() -> Finding:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    ok = size >= MEMORY_GIB
    return Finding(
        "Memory",
        ok,
        f"{size:.1f} GiB of {MEMORY_GIB} needed",
        "" if ok else "Use a machine with 8 GB or more.",
    )


def _install(check: str) -> str:
    best, *others = PACKAGES[check]
    return "Run: sudo apt-get install " + best + "".join(f" (or {other})" for other in others)


def _output(command: List[str]) -> Optional[str]:
    """Output of a command on both streams, in the C locale; None when it cannot run or fails."""
    environment = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
