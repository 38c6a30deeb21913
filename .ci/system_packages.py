"""Install Debian packages with apt-get: as root, or by a sudo that asks for no password.

Runs before there is an environment, on any Python from 3.6 on.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional, Tuple

# Another apt, such as the upgrades at the first boot of a virtual machine, is waited for.
LOCK_SECONDS = 120
LOCK_RETRY_SECONDS = 2
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


class PackagesError(Exception):
    """Packages that cannot be installed: what happened, and what the user has to do."""


def root_prefix() -> Optional[List[str]]:
    """What makes root run a command; None if that would ask for a password."""
    if _is_root():
        return []
    if shutil.which("sudo") and _run(["sudo", "-n", "true"]).returncode == 0:
        return ["sudo", "-n"]
    return None


def choose(wanted: List[Tuple[str, ...]]) -> Tuple[List[Optional[str]], str]:
    """The first of each tuple of alternatives that this release has, else None; and why lists are not fresh.

    Fresh lists decide: the machine's own after an update by root, otherwise a copy that is fetched for this
    question if the machine's are not enough.
    """
    if not all(map(shutil.which, ("apt-get", "apt-cache"))):
        return [None] * len(wanted), ""
    root = root_prefix()
    if root is not None:
        problem = _update(root)
        return _first(wanted, []), problem
    chosen = _first(wanted, [])
    if all(chosen):
        return chosen, ""
    print("Looking for packages in the distribution's lists", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(folder, name))
        lists = ["-o", "Dir::State::Lists=" + os.path.join(folder, "lists")]
        lists += ["-o", "Dir::Cache=" + os.path.join(folder, "cache")]
        problem = _problem(_run(["apt-get", *lists, "-q", "update"]))
        return [fresh or old for fresh, old in zip(_first(wanted, lists), chosen)], problem


def install(packages: List[str]) -> None:
    """Install packages whose lists are fresh; raises `PackagesError`, also where that takes a password."""
    root = root_prefix()
    if root is None:
        who = "Run" if shutil.which("sudo") else "As root, run"
        raise PackagesError(f"{who} this command, then `make` again:\n\n  {command(packages)}\n")
    print("Installing with apt-get: " + " ".join(packages), file=sys.stderr)
    arguments = ["install", "-y", "-q", "--no-install-recommends", *packages]
    done = _apt_get(root, arguments)
    if "dpkg --configure -a" in done.stdout:  # an installation was interrupted
        _run([*_as_root(root), "dpkg", "--configure", "-a"])
        done = _apt_get(root, arguments)
    if done.returncode:
        raise PackagesError(
            "apt-get could not install {}:\n{}\nCheck network, proxy and disk, or run `{}` yourself; "
            "then run `make` again.".format(", ".join(packages), _errors(done.stdout), command(packages))
        )


def command(packages: List[str]) -> str:
    """The command that a user pastes to install the packages; root's where there is no sudo."""
    sudo = "sudo " if shutil.which("sudo") and not _is_root() else ""
    install = "apt-get install -y --no-install-recommends " + " ".join(packages)
    return f"{sudo}apt-get update && {sudo}{install}"


def _is_root() -> bool:
    return _run(["id", "-u"]).stdout.strip() == "0"


def _update(root: List[str]) -> str:
    """Refresh the lists; returns what is wrong."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        done = _apt_get(root, ["-q", "update"])
        if "Could not get lock" not in done.stdout or time.monotonic() > deadline:
            return _problem(done)
        print("Waiting for another apt-get to end", file=sys.stderr)
        time.sleep(LOCK_RETRY_SECONDS)


def _problem(update: "subprocess.CompletedProcess[str]") -> str:
    """Why lists are not fresh; apt-get succeeds where it fetched none."""
    if not update.returncode and "Failed to fetch" not in update.stdout:
        return ""
    return (
        f"apt-get update failed:\n{_errors(update.stdout)}\nCheck network and proxy; then run `make` again."
    )


def _first(wanted: List[Tuple[str, ...]], options: List[str]) -> List[Optional[str]]:
    names = [name for alternatives in wanted for name in alternatives]
    answer = _run(["apt-cache", *options, "policy", *names]).stdout
    candidates = dict(re.findall(r"^(\S+):\n.*\n +Candidate: (\S+)", answer, re.MULTILINE))
    return [
        next((name for name in alternatives if _is_release(candidates.get(name))), None)
        for alternatives in wanted
    ]


def _is_release(version: Optional[str]) -> bool:
    """Whether there is such a package; Ubuntu 22.04's Python 3.11 is a release candidate."""
    return version not in (None, "(none)") and "~rc" not in version


def _apt_get(root: List[str], arguments: List[str]) -> "subprocess.CompletedProcess[str]":
    lock = ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    return _run([*_as_root(root), "apt-get", *lock, *arguments])


def _as_root(root: List[str]) -> List[str]:
    """The start of a command; sudo drops variables, `env` sets them again."""
    proxies = {
        name: os.environ[name] for name in PROXIES + tuple(map(str.upper, PROXIES)) if name in os.environ
    }
    variables: Dict[str, str] = dict(proxies, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    return root + ["env"] + ["{}={}".format(*item) for item in sorted(variables.items())]


def _run(arguments: List[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command without input; both streams in `stdout`."""
    return subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
        env=dict(os.environ, LC_ALL="C"),
    )


def _errors(output: str) -> str:
    """The lines that say what is wrong; without any, the last ones."""
    lines = [line for line in output.splitlines() if line.strip()]
    faults = [line for line in lines if line[:2] in ("E:", "W:")]
    return "\n".join("  " + line for line in (faults or lines)[-5:])
