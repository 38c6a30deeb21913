"""Examine this machine and install what it lacks, before there is an environment.

`prepare.py [chromium] [wrk]` runs on any Python from 3.6 on. The arguments are programs that only some
targets of the Makefile need. `--python` prints the path of a Python 3.11 instead. Exit code 0 if nothing is
missing any more, 2 if the user has to do something.
"""

import os
import sys
from importlib import util
from typing import Any, Dict, List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, ".ci"))

import private_uv  # noqa: E402
import system_packages  # noqa: E402

# By its path: the neighbours in its package are for Python 3.11.
_spec: Any = util.spec_from_file_location(
    "prerequisites", os.path.join(ROOT, "src", "recsim_tasks", "foundation", "prerequisites.py")
)
prerequisites: Any = util.module_from_spec(_spec)
_spec.loader.exec_module(prerequisites)

# Measured in a container of Debian 12 with empty caches and 2 cores.
COST = """Setting up recsim, once:
  time      5 minutes on 2 cores and a fast network
  download  1.8 GB
  disk      4.2 GiB in this folder, 2.2 GiB in the home folder (caches of uv and Ivy), 0.6 GiB of packages
  memory    8 GB, of which the set-up takes 3; 12 GB for make test
If it is interrupted, the next make resumes it."""
PYTHON, HEADERS = "Python 3.11", "Python's headers"
# What passes a check for which there is no package.
BY_UV, LATER = "uv", "browser.py"
ELSEWHERE = {PYTHON: BY_UV, HEADERS: BY_UV, "Chromium": LATER}


def main(arguments: List[str]) -> int:
    """Run the script; returns the exit code."""
    if arguments == ["--python"]:
        print(prerequisites.find_python() or "")
        return 0
    try:
        _prepare(arguments)
    except (PrerequisitesError, system_packages.PackagesError, private_uv.FetchError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


class PrerequisitesError(Exception):
    """What is missing and no package provides."""


def _prepare(programs: List[str]) -> None:
    lacking = _examine(programs)
    _refuse([finding for finding in lacking if finding.name not in prerequisites.PACKAGES])
    if not os.path.exists(os.path.join(ROOT, ".venv", ".made-from")):
        print(COST, file=sys.stderr)
    if lacking:
        print("This machine lacks:", file=sys.stderr)
        for finding in lacking:
            print(f"  {finding.name}: {finding.detail}", file=sys.stderr)
        packages = _choose(lacking)
        _provide(packages)
        _refuse([finding for finding in _examine(programs) if packages.get(finding.name) != LATER])


def _examine(programs: List[str]) -> List[Any]:
    """The checks that fail."""
    wanted = [finding for finding in prerequisites.examine_tests() if finding.name.lower() in programs]
    return [finding for finding in _folders() + prerequisites.examine() + wanted if not finding.ok]


def _folders() -> List[Any]:
    home = os.path.expanduser("~")
    caches = "Set HOME to a folder that you may write: the caches of uv and Ivy are put there."
    remedies = {ROOT: "Clone recsim as the user who runs make.", home: caches}
    return [
        prerequisites.Finding("Folder", os.access(folder, os.W_OK), folder + " cannot be written", remedy)
        for folder, remedy in remedies.items()
    ]


def _refuse(findings: List[Any], problem: str = "") -> None:
    if findings:
        lines = ["This machine lacks something that recsim needs:", prerequisites.missing(findings), problem]
        raise PrerequisitesError("\n".join(filter(None, lines)))


def _choose(lacking: List[Any]) -> Dict[str, str]:
    """What passes each failed check: a package, uv or, later, Playwright; raises if one has nothing."""
    names = [finding.name for finding in lacking]
    if PYTHON in names:
        names.append(HEADERS)
    wanted = [prerequisites.PACKAGES[name] for name in names]
    chosen, problem = system_packages.choose(wanted)
    packages = {name: package or ELSEWHERE.get(name, "") for name, package in zip(names, chosen)}
    if BY_UV in packages.values():  # a Python and its headers come from one place
        packages.update({name: BY_UV for name in (PYTHON, HEADERS) if name in packages})
    _refuse([finding for finding in lacking if not packages[finding.name]], problem)
    return packages


def _provide(packages: Dict[str, str]) -> None:
    names = [package for package in packages.values() if package not in (BY_UV, LATER)]
    if names:
        system_packages.install(names)
    if BY_UV in packages.values():
        private_uv.install_python()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
