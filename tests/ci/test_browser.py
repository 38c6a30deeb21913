from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci" / "browser.py"


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script on a machine without a browser; `browser.steps` has what it runs."""
    spec = importlib.util.spec_from_file_location("browser", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec.loader.exec_module(module)
    steps: list[list[str]] = []
    monkeypatch.setattr(module, "find_browser", lambda: None)
    monkeypatch.setattr(module, "_starts", lambda: False)
    monkeypatch.setattr(module.subprocess, "run", lambda step, **options: steps.append(step))
    module.steps = steps  # type: ignore[attr-defined]
    return module


def test_a_browser_of_the_machine_will_do(browser: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_browser", lambda: "/usr/bin/chromium")
    assert browser.main() == 0
    assert browser.steps == []


@pytest.mark.parametrize("root", [[], ["sudo", "-n"]], ids=["root", "sudo"])
def test_playwright_fetches_its_own_and_root_installs_what_that_needs(
    browser: ModuleType, monkeypatch: pytest.MonkeyPatch, root: list[str]
) -> None:
    monkeypatch.setattr(browser.system_packages, "root_prefix", lambda: root)
    starts = iter([False, True])
    monkeypatch.setattr(browser, "_starts", lambda: next(starts))
    assert browser.main() == 0
    assert browser.steps == [
        [*browser.PLAYWRIGHT, "install", "chromium"],
        [*root, *browser.PLAYWRIGHT, "install-deps", "chromium"],
    ]


def test_without_rights_the_command_is_printed(
    browser: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser.system_packages, "root_prefix", lambda: None)
    assert browser.main() == 2
    assert browser.steps == [[*browser.PLAYWRIGHT, "install", "chromium"]]
    assert "sudo " + " ".join([*browser.PLAYWRIGHT, "install-deps", "chromium"]) in capsys.readouterr().err
