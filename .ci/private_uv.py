"""Print the path of a uv that can install this project; fetch one into `.tools` if there is none on the PATH.

Runs before there is an environment, on any Python from 3.6 on: with pip if it is installed (it knows the
site's mirror and proxy), else with the standard library alone, because Debian's Python has neither pip nor
venv.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from typing import Optional

OLDEST = (0, 9)  # required-version in pyproject.toml
VERSION = "0.13.9"
FILES = "https://files.pythonhosted.org/packages/3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f"
WHEEL = f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
SHA256 = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".tools")
PRIVATE = os.path.join(TOOLS, "uv-" + VERSION)
PYTHONS = os.path.join(TOOLS, "python")


class FetchError(Exception):
    """What could not be fetched, and what the user has to do."""


def main() -> int:
    """Print the path; exit code 2, with the reason on stderr, if uv cannot be fetched."""
    try:
        print(find_uv())
    except FetchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def find_uv() -> str:
    """Path of a uv: on the PATH if that is new enough, else a private one."""
    try:
        return _on_path() or _private()
    except (OSError, ValueError) as error:
        raise FetchError(
            f"uv {VERSION} could not be fetched: {error}. Check network and proxy, or install uv by hand "
            "(docs.astral.sh/uv); then run `make` again."
        ) from error


def install_python() -> None:
    """Let uv fetch a Python 3.11 with its headers into `.tools/python`."""
    uv = find_uv()
    print(f"Fetching Python 3.11 with uv into {PYTHONS}", file=sys.stderr)
    variables = dict(os.environ, UV_PYTHON_DOWNLOADS="manual", UV_PYTHON_INSTALL_DIR=PYTHONS)
    variables.pop("UV_PYTHON", None)
    command = [uv, "python", "install", "--no-bin", "3.11"]
    if subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise FetchError(
            "Python 3.11 could not be fetched: uv's message is above. Check network and proxy, name a mirror "
            "in UV_PYTHON_INSTALL_MIRROR, or install Python 3.11 with its headers by hand; then run `make` "
            "again."
        )


def _on_path() -> Optional[str]:
    uv = shutil.which("uv")
    if uv is None:
        return None
    output = subprocess.run([uv, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    version = re.match(rb"uv (\d+)\.(\d+)", output)
    return uv if version and tuple(map(int, version.groups())) >= OLDEST else None


def _private() -> str:
    uv = os.path.join(PRIVATE, "bin", "uv")
    if not os.path.exists(uv):
        print(f"Fetching uv {VERSION} into {PRIVATE}", file=sys.stderr)
        shutil.rmtree(PRIVATE, ignore_errors=True)  # incomplete, if a download was killed
        if not _by_pip():
            _by_wheel(uv)
    return uv


def _by_pip() -> bool:
    """Install with pip into a folder beside, then rename it; False if there is no pip or it fails."""
    staged = os.path.join(TOOLS, f".uv-{VERSION}.staged")
    shutil.rmtree(staged, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", staged]
    done = subprocess.run(
        [*command, "uv==" + VERSION],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode or not os.path.exists(os.path.join(staged, "bin", "uv")):
        return False
    os.rename(staged, PRIVATE)
    return True


def _by_wheel(uv: str) -> None:
    with urllib.request.urlopen(f"{FILES}/{WHEEL}", timeout=60) as response:
        wheel = response.read()
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        raise ValueError(f"{FILES}/{WHEEL} is not the published file")
    os.makedirs(os.path.dirname(uv), exist_ok=True)
    staged = uv + ".staged"
    with open(staged, "wb") as file:
        file.write(zipfile.ZipFile(io.BytesIO(wheel)).read(f"uv-{VERSION}.data/scripts/uv"))
    os.chmod(staged, 0o755)
    os.replace(staged, uv)


if __name__ == "__main__":
    sys.exit(main())
