"""Install Playwright's own Chromium where the distribution packages none, as on Ubuntu, which has a snap.

Runs in the environment, after `prepare.py`. Exit code 0 if the tests have a browser, 2 if the user has to do
something.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import system_packages

from recsim_tasks.foundation.prerequisites import find_browser

PLAYWRIGHT = [sys.executable, "-m", "playwright"]


def main() -> int:
    """Run the script; returns the exit code."""
    if find_browser() or _starts():
        return 0
    root = system_packages.root_prefix()
    print("Fetching Chromium with Playwright", file=sys.stderr)
    steps = [[*PLAYWRIGHT, "install", "chromium"]]
    if root is not None:
        steps.append([*root, *PLAYWRIGHT, "install-deps", "chromium"])
    for step in steps:
        subprocess.run(step, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if _starts():
        return 0
    libraries = " ".join(["sudo", *PLAYWRIGHT, "install-deps", "chromium"])
    print(
        "The tests have no browser. Install Chromium or Google Chrome, or what Playwright's own needs: "
        f"{libraries}; then run `make` again.",
        file=sys.stderr,
    )
    return 2


def _starts() -> bool:
    """Whether the Chromium that Playwright fetched is there, with its libraries."""
    from playwright.sync_api import Error, sync_playwright

    try:
        with sync_playwright() as playwright:
            playwright.chromium.launch(args=["--no-sandbox"]).close()
    except Error:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
