from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_tasks.foundation import prerequisites

SCRIPT = prerequisites.__file__


def run(
    path: Path | str, home: Path, *arguments: str, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(home)} | variables
    return subprocess.run(
        [python, "-I", SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_nothing_is_printed_on_a_complete_machine() -> None:
    done = subprocess.run([sys.executable, "-I", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_everything_missing_is_named_at_once_with_the_command_that_installs_it(tmp_path: Path) -> None:
    done = run("", tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()[1:]
    wanted = {
        "Python 3.11": "python3.11",
        "Java 17": "openjdk-17-jre-headless",
        "C++17 compiler": "g++",
        "cmake": "cmake",
        "make": "make",
    }
    assert [line.strip().split(":")[0] for line in lines] == list(wanted)
    assert all(
        f"sudo apt-get install {package}" in line
        for line, package in zip(lines, wanted.values(), strict=True)
    )


def test_an_old_java_is_named_with_its_version(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", """echo 'openjdk version "1.8.0_392"' >&2""")
    done = run(tmp_path / "bin", tmp_path)
    assert "Java 17: java is Java 8. Run: sudo apt-get install openjdk-17-jre-headless" in done.stderr


@pytest.mark.parametrize(
    "version",
    ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "21" 2023-09-19', 'java version "22-ea"'],
)
def test_java_17_and_later_will_do(tmp_path: Path, version: str) -> None:
    program(tmp_path / "bin", "java", f"echo '{version}' >&2")
    assert "Java" not in run(tmp_path / "bin", tmp_path).stderr


def test_java_home_decides_as_it_does_for_spark(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", """echo 'openjdk version "17.0.1"' >&2""")
    done = run(tmp_path / "bin", tmp_path, JAVA_HOME=str(tmp_path / "absent"))
    assert f"{tmp_path}/absent/bin/java does not run" in done.stderr
    assert "unset JAVA_HOME" in done.stderr


def test_a_compiler_that_does_not_compile_is_not_taken_for_one(tmp_path: Path) -> None:
    program(tmp_path / "bin", "g++", "exit 1")
    assert (
        f"C++17 compiler: {tmp_path}/bin/g++ does not compile C++17. Run: sudo"
        in run(tmp_path / "bin", tmp_path).stderr
    )


def test_a_python_that_pyenv_has_but_has_not_selected_is_found(tmp_path: Path) -> None:
    program(tmp_path / "shims", "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    installed = tmp_path / ".pyenv" / "versions" / "3.11.9" / "bin"
    program(installed, "python3.11", f'exec {sys.executable} "$@"')
    done = run(tmp_path / "shims", tmp_path, "--python")
    assert done.returncode == 0
    assert Path(done.stdout.strip()).resolve() == Path(sys.executable).resolve()


def test_a_python_without_its_headers_is_named(tmp_path: Path) -> None:
    """As Debian's is, whose headers are a package of their own."""
    program(
        tmp_path / "bin",
        "python3.11",
        'case "$3" in *sysconfig*) echo /usr/include/nowhere;; *) echo 3 11 "$0";; esac',
    )
    printed = run(tmp_path / "bin", tmp_path).stderr
    assert (
        "Python's headers: no Python.h in /usr/include/nowhere. Run: sudo apt-get install python3.11-dev"
        in printed
    )


def test_another_python_is_not_taken_for_3_11(tmp_path: Path) -> None:
    program(tmp_path / "bin", "python3", "echo 3 12 /usr/bin/python3.12")
    done = run(tmp_path / "bin", tmp_path, "--python")
    assert (done.returncode, done.stdout) == (2, "\n")


def test_the_python_of_an_active_environment_is_traced_to_its_base() -> None:
    found = prerequisites.find_python()
    assert found
    assert not (Path(found).parent.parent / "pyvenv.cfg").exists()


def test_every_python_from_3_6_on_can_parse_it() -> None:
    ast.parse(Path(SCRIPT).read_text(), feature_version=(3, 6))
    assert "from __future__ import annotations" not in Path(SCRIPT).read_text()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.12", "3.13"])
def test_other_pythons_can_run_it(tmp_path: Path, version: str) -> None:
    python = next(
        (str(p) for p in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        shutil.which(f"python{version}"),
    )
    # pyenv has a shim of every version's name, also of those that are switched off.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"no Python {version} here")
    done = run(os.environ["PATH"], tmp_path, python=python)
    assert "Error" not in done.stderr
    assert done.returncode in (0, 2)


def test_only_the_check_for_tests_names_what_the_tests_need(tmp_path: Path) -> None:
    assert "hromium" not in run("", tmp_path).stderr
    done = run("", tmp_path, "--tests")
    assert done.returncode == 2
    assert "sudo apt-get install chromium" in done.stderr
    assert "sudo apt-get install wrk" in done.stderr
    for name in ("google-chrome", "wrk"):
        program(tmp_path / "bin", name, "")
    assert run(tmp_path / "bin", tmp_path, "--tests").returncode == 0
