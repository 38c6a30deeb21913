from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_tasks.foundation import prerequisites

SCRIPT = prerequisites.__file__


DRIVER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("prerequisites", sys.argv[1])
prerequisites = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prerequisites)
"""
EXAMINE = DRIVER + "print(prerequisites.missing(prerequisites.examine()))"
EXAMINE_TESTS = DRIVER + "print(prerequisites.missing(prerequisites.examine_tests()))"
FIND_PYTHON = DRIVER + "print(prerequisites.find_python())"


def run(
    path: Path | str, home: Path, code: str = EXAMINE, python: str = sys.executable, **variables: str
) -> str:
    """What a bare Python prints that has the module, a PATH and a home."""
    environment = {"PATH": str(path), "HOME": str(home), **variables}
    command = [python, "-I", "-c", code, SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_complete_machine_lacks_nothing() -> None:
    assert prerequisites.missing(prerequisites.examine()) == ""


def test_everything_missing_is_named_at_once_with_the_command_that_installs_it(tmp_path: Path) -> None:
    lines = run("", tmp_path).splitlines()
    wanted = {
        "Python 3.11": "python3.11",
        "Java 17": "openjdk-17-jre-headless",
        "C++17 compiler": "g++",
        "make": "make",
    }
    assert [line.strip().split(":")[0] for line in lines] == list(wanted)
    assert all(
        f"sudo apt-get install {package}" in line
        for line, package in zip(lines, wanted.values(), strict=True)
    )


def test_an_old_java_is_named_with_its_version(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", """echo 'openjdk version "1.8.0_392"' >&2""")
    printed = run(tmp_path / "bin", tmp_path)
    assert "Java 17: java is Java 8. Run: sudo apt-get install openjdk-17-jre-headless" in printed


@pytest.mark.parametrize(
    "version",
    ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "21" 2023-09-19', 'java version "22-ea"'],
)
def test_java_17_and_later_will_do(tmp_path: Path, version: str) -> None:
    program(tmp_path / "bin", "java", f"echo '{version}' >&2")
    assert "Java" not in run(tmp_path / "bin", tmp_path)


def test_java_home_decides_as_it_does_for_spark(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", """echo 'openjdk version "17.0.1"' >&2""")
    printed = run(tmp_path / "bin", tmp_path, JAVA_HOME=str(tmp_path / "absent"))
    assert f"JAVA_HOME: {tmp_path}/absent/bin/java does not run. Unset JAVA_HOME, or set it to" in printed
    assert "apt-get install openjdk" not in printed


def test_a_compiler_that_does_not_compile_is_not_taken_for_one(tmp_path: Path) -> None:
    program(tmp_path / "bin", "g++", "exit 1")
    assert f"C++17 compiler: {tmp_path}/bin/g++ does not compile C++17. Run: sudo" in run(
        tmp_path / "bin", tmp_path
    )


def test_a_python_that_pyenv_has_but_has_not_selected_is_found(tmp_path: Path) -> None:
    program(tmp_path / "shims", "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    installed = tmp_path / ".pyenv" / "versions" / "3.11.9" / "bin"
    program(installed, "python3.11", f'exec {sys.executable} "$@"')
    found = run(tmp_path / "shims", tmp_path, FIND_PYTHON)
    assert Path(found).resolve() == Path(sys.executable).resolve()


def test_a_python_without_its_headers_is_named(tmp_path: Path) -> None:
    """As Debian's is, whose headers are a package of their own."""
    program(tmp_path / "bin", "python3.11", 'echo 3 11 final False "$0"')
    printed = run(tmp_path / "bin", tmp_path)
    assert (
        f"Python's headers: {tmp_path}/bin/python3.11 has no Python.h. Run: sudo apt-get install" in printed
    )


def test_a_python_with_headers_is_preferred(tmp_path: Path) -> None:
    program(tmp_path / "bin", "python3.11", "echo 3 11 final False /usr/bin/python3.11")
    uv = tmp_path / ".local" / "share" / "uv" / "python" / "cpython-3.11.9-linux-x86_64-gnu" / "bin"
    program(uv, "python3.11", "echo '3 11 final True /a folder/python3.11'")
    assert run(tmp_path / "bin", tmp_path, FIND_PYTHON) == "/a folder/python3.11"


@pytest.mark.parametrize(
    "answer", ["3 12 final True /usr/bin/python3.12", "3 11 candidate True /usr/bin/python3.11", ""]
)
def test_another_python_is_not_taken_for_3_11(tmp_path: Path, answer: str) -> None:
    program(tmp_path / "bin", "python3", f"echo {answer}")
    assert run(tmp_path / "bin", tmp_path, FIND_PYTHON) == "None"


def test_the_python_of_an_active_environment_is_traced_to_its_base() -> None:
    found = prerequisites.find_python()
    assert found
    assert not (Path(found).parent.parent / "pyvenv.cfg").exists()


def test_every_python_from_3_6_on_can_parse_it() -> None:
    ast.parse(Path(SCRIPT).read_text(), feature_version=(3, 6))
    assert "from __future__ import annotations" not in Path(SCRIPT).read_text()


def test_only_the_check_for_tests_names_what_the_tests_need(tmp_path: Path) -> None:
    assert "hromium" not in run("", tmp_path)
    printed = run("", tmp_path, EXAMINE_TESTS)
    assert "sudo apt-get install chromium" in printed
    assert "sudo apt-get install wrk" in printed
    for name in ("google-chrome", "wrk"):
        program(tmp_path / "bin", name, "")
    assert run(tmp_path / "bin", tmp_path, EXAMINE_TESTS) == ""


def test_a_browser_that_playwright_fetched_will_do(tmp_path: Path) -> None:
    fetched = tmp_path / ".cache" / "ms-playwright" / "chromium-1200"
    fetched.mkdir(parents=True)
    assert "hromium" in run("", tmp_path, EXAMINE_TESTS)
    (fetched / "INSTALLATION_COMPLETE").touch()
    assert "hromium" not in run("", tmp_path, EXAMINE_TESTS)
