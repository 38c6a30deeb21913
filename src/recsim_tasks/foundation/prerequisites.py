"""Check what a machine must have before installation: `python3 prerequisites.py` lists what is missing.

The script runs before there is an environment, on any `python3`: it uses only the standard library and the
syntax of Python 3.6. Exit code 0 means complete, 2 incomplete. `--python` prints the path of a Python 3.11
instead; `--tests` checks only what the tests need in addition.
"""

import glob
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from typing import List, NamedTuple, Optional

GIB = 2**30
DISK_BEFORE_INSTALL_GIB = 8
DISK_AFTER_INSTALL_GIB = 2
MEMORY_GIB = 7  # what a machine sold as 8 GB reports
JAVA = 17
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
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
    checks = (_system, _python, _headers, _java, _compiler, _cmake, _make, _disk, _memory)
    return [check() for check in checks]


def find_python() -> Optional[str]:
    """Path of a Python 3.11 that starts: on the PATH, or installed by pyenv without being selected."""
    names = ("python3.11", "python3", "python")
    on_path = [shutil.which(name, path=folder) for name in names for folder in os.get_exec_path()]
    pyenv = glob.glob(
        os.path.expanduser(
            os.path.join(os.environ.get("PYENV_ROOT", "~/.pyenv"), "versions", "3.11*", "bin", "python3.11")
        )
    )
    report = "import os, sys; print(*sys.version_info[:2], os.path.realpath(sys._base_executable))"
    for candidate in [path for path in on_path if path] + pyenv:
        answer = _output([candidate, "-I", "-c", report])
        if answer and answer.startswith("3 11 "):
            return answer.strip().split(" ", 2)[2]
    return None


def find_browser() -> Optional[str]:
    """Path of a browser that Playwright can drive."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing(findings: List[Finding]) -> str:
    """One line for each failed check, with the remedy."""
    return "\n".join(
        "  {0.name}: {0.detail}. {0.remedy}".format(finding) for finding in findings if not finding.ok
    )


def main(arguments: List[str]) -> int:
    """Run the script; returns the exit code."""
    if arguments == ["--python"]:
        python = find_python()
        print(python or "")
        return 0 if python else 2
    findings = [_browser(), _wrk()] if arguments == ["--tests"] else examine()
    if all(finding.ok for finding in findings):
        return 0
    print("This machine lacks something that recsim needs:\n" + missing(findings), file=sys.stderr)
    return 2


def _system() -> Finding:
    platform_name = "{} on {}".format(platform.system(), platform.machine())
    ok = platform_name in ("Linux on x86_64", "Linux on AMD64")
    return Finding(
        "Linux x86-64",
        ok,
        "this is " + platform_name,
        "" if ok else "Use a Linux x86-64 machine, a virtual machine or WSL 2.",
    )


def _python() -> Finding:
    python = find_python()
    remedy = "Run: sudo apt-get install python3.11 (or, where the distribution has none: pyenv install 3.11)"
    return Finding(
        "Python 3.11",
        bool(python),
        python or "no python3.11 on the PATH or in pyenv",
        "" if python else remedy,
    )


def _headers() -> Finding:
    """Extensions are compiled against them; distributions package them separately."""
    python = find_python()
    if python is None:
        return Finding("Python's headers", True, "not checked without a Python 3.11", "")
    folder = (
        _output([python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('include'))"]) or ""
    ).strip()
    ok = os.path.isfile(os.path.join(folder, "Python.h"))
    detail = folder if ok else "no Python.h in " + (folder or "what {} names".format(python))
    return Finding("Python's headers", ok, detail, "" if ok else "Run: sudo apt-get install python3.11-dev")


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else "java"  # as Spark chooses
    version = _output([java, "-version"]) or ""
    match = re.search(r'version "(?:1\.)?(\d+)', version)
    remedy = "Run: sudo apt-get install openjdk-17-jre-headless" + (
        ", and unset JAVA_HOME or point it there" if home else ""
    )
    if match is None:
        return Finding(
            "Java 17", False, "{} does not run".format(java if home else "no java on the PATH, or it"), remedy
        )
    ok = int(match.group(1)) >= JAVA
    return Finding("Java 17", ok, "{} is Java {}".format(java, match.group(1)), "" if ok else remedy)


def _compiler() -> Finding:
    remedy = "Run: sudo apt-get install g++"
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


def _cmake() -> Finding:
    return _program("cmake")


def _make() -> Finding:
    return _program("make")


def _program(name: str) -> Finding:
    ok = _output([name, "--version"]) is not None
    return Finding(
        name,
        ok,
        name if ok else "no {0} on the PATH, or it does not run".format(name),
        "" if ok else "Run: sudo apt-get install " + name,
    )


def _browser() -> Finding:
    browser = find_browser()
    return Finding(
        "Chromium",
        bool(browser),
        browser or "none on the PATH; the tests open the shop with it",
        "" if browser else "Run: sudo apt-get install chromium",
    )


def _wrk() -> Finding:
    wrk = shutil.which("wrk")
    return Finding(
        "wrk",
        bool(wrk),
        wrk or "none on the PATH; the serving benchmark needs it",
        "" if wrk else "Run: sudo apt-get install wrk",
    )


def _disk() -> Finding:
    needed = DISK_AFTER_INSTALL_GIB if os.path.isdir(".venv") else DISK_BEFORE_INSTALL_GIB
    free = shutil.disk_usage(".").free / GIB
    remedy = "Free {:.0f} GiB here, or put the checkout on another disk.".format(needed)
    ok = free >= needed
    return Finding(
        "Disk space",
        ok,
        "{:.1f} of {} GiB free in {}".format(free, needed, os.getcwd()),
        "" if ok else remedy,
        not ok,
    )


def _memory() -> Finding:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    ok = size >= MEMORY_GIB
    return Finding(
        "Memory",
        ok,
        "{:.1f} GiB of {} needed".format(size, MEMORY_GIB),
        "" if ok else "Use a machine with 8 GB or more.",
    )


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
