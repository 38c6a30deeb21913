"""Print the path of a uv that can install this project; fetch one into `.tools` if there is none on the PATH.

Runs before there is an environment, on a bare Python 3.11: with pip if it is installed (it knows the site's
mirror and proxy), else with the standard library alone, because Debian's Python has neither pip nor venv.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

OLDEST = (0, 9)  # required-version in pyproject.toml
VERSION = "0.13.9"
FILES = "https://files.pythonhosted.org/packages/3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f"
WHEEL = f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
SHA256 = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
PRIVATE = Path(__file__).resolve().parent.parent / ".tools" / f"uv-{VERSION}"


def main() -> int:
    """Print the path; exit code 2, with the reason on stderr, if uv cannot be fetched."""
    try:
        print(_on_path() or _private())
    except (OSError, ValueError) as error:
        print(
            f"uv {VERSION} could not be fetched: {error}. "
            "Install uv by hand (docs.astral.sh/uv) and run this again.",
            file=sys.stderr,
        )
        return 2
    return 0


def _on_path() -> str | None:
    uv = shutil.which("uv")
    if uv is None:
        return None
    output = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"uv (\d+)\.(\d+)", output)
    return uv if version and tuple(map(int, version.groups())) >= OLDEST else None


def _private() -> Path:
    uv = PRIVATE / "bin" / "uv"
    if not uv.exists():
        print(f"Fetching uv {VERSION} into {PRIVATE}", file=sys.stderr)
        if not _by_pip():
            _by_wheel(uv)
    return uv


def _by_pip() -> bool:
    """Install with pip into a folder beside, then rename it; False if there is no pip or it fails."""
    staged = PRIVATE.with_name(f".{PRIVATE.name}.staged")
    shutil.rmtree(staged, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(staged),
        f"uv=={VERSION}",
    ]
    if (
        subprocess.run(command, capture_output=True, check=False).returncode
        or not (staged / "bin" / "uv").exists()
    ):
        return False
    shutil.rmtree(PRIVATE, ignore_errors=True)  # incomplete, if a download was killed
    staged.rename(PRIVATE)
    return True


def _by_wheel(uv: Path) -> None:
    with urllib.request.urlopen(f"{FILES}/{WHEEL}", timeout=60) as response:
        wheel = response.read()
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        raise ValueError(f"{FILES}/{WHEEL} is not the published file")
    uv.parent.mkdir(parents=True, exist_ok=True)
    staged = uv.with_name(".uv")
    staged.write_bytes(zipfile.ZipFile(io.BytesIO(wheel)).read(f"uv-{VERSION}.data/scripts/uv"))
    staged.chmod(0o755)
    staged.replace(uv)


if __name__ == "__main__":
    sys.exit(main())
