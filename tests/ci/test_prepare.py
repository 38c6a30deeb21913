"""`.ci/prepare.py` on machines that are made of a few small scripts."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ("prepare.py", "private_uv.py", "system_packages.py")
PREREQUISITES = "src/recsim_tasks/foundation/prerequisites.py"
JAVA_17, JAVA_21 = "openjdk-17-jre-headless", "openjdk-21-jre-headless"
BOOKWORM = f"python3.11 python3.11-dev {JAVA_17} g++ make chromium wrk"
TRIXIE = f"{JAVA_21} g++ make chromium wrk"
NOBLE = f"{JAVA_17} {JAVA_21} g++ make wrk"
WORKS = {
    "python3.11": "echo 3 11 final True /usr/bin/python3.11",
    "java": """echo 'openjdk version "17.0.1"'""",
    "g++": "exit 0",
    "make": "exit 0",
    "chromium": "exit 0",
    "wrk": "exit 0",
}
# A machine's lists are the file `lists`; those that a user fetches are a folder named in an option.
APT_CACHE = """
lists=$HERE/lists
case "$2" in Dir::State::Lists=*) lists=${2#*=}/fetched;; esac
[ -e "$lists" ] || exit 0
shift; [ -z "$OPTIONS" ] || shift 4
for name; do case " $PACKAGED " in
  *" $name "*) printf '%s:\\n  Installed: (none)\\n  Candidate: 1.0\\n  Version table:\\n' "$name";;
  *) printf '%s:\\n  Installed: (none)\\n  Candidate: (none)\\n  Version table:\\n' "$name";;
esac; done
"""
APT_GET = """
echo "$DEBIAN_FRONTEND ${http_proxy:--} $*" >> $HERE/log
case "$*" in
  *Dir::State::Lists=*) [ -n "$OFFLINE" ] || : > ${2#*=}/fetched;;
  *update*)
    if [ -n "$OFFLINE" ]; then echo 'W: Failed to fetch http://deb.debian.org/'; exit 0; fi
    if [ -n "$LOCKED" ] && [ ! -e $HERE/waited ]; then
      : > $HERE/waited; echo 'E: Could not get lock /var/lib/apt/lists/lock'; exit 100
    fi
    : > $HERE/lists;;
  *install*)
    if [ -n "$READ_ONLY" ]; then echo 'E: Could not open lock file: Read-only file system'; exit 100; fi
    if [ -n "$INTERRUPTED" ] && [ ! -e $HERE/configured ]; then
      echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'"; exit 100
    fi
    for name; do case $name in
      openjdk*) cp $HERE/packages/java $HERE/bin;;
      python3.11-dev) ;;
      *) if [ -e "$HERE/packages/$name" ]; then cp "$HERE/packages/$name" $HERE/bin; fi;;
    esac; done;;
esac
"""
SUDO = """
[ "$1" = -n ] || { sleep 60; exit 1; }
[ -z "$PASSWORD" ] || { echo 'sudo: a password is required'; exit 1; }
shift; unset http_proxy DEBIAN_FRONTEND
exec "$@"
"""
UV = """
[ "$1" = python ] || { echo 'uv 0.13.9'; exit 0; }
[ -z "$OFFLINE" ] || { echo 'error: Failed to download' >&2; exit 1; }
mkdir -p "$UV_PYTHON_INSTALL_DIR/cpython-3.11.18/bin"
cp $HERE/packages/python3.11 "$UV_PYTHON_INSTALL_DIR/cpython-3.11.18/bin"
"""


class Machine:
    """A checkout and a PATH with nothing but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.checkout = folder, folder / "bin", folder / "check out"
        for name in (*(f".ci/{script}" for script in SCRIPTS), PREREQUISITES):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.checkout / name)
        for name, script in WORKS.items():
            self.add(name, script, "packages")
        for name in ("cp", "env", "mkdir", "sleep", "true"):
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).symlink_to(shutil.which(name) or name)

    def add(self, name: str, script: str, folder: str = "bin") -> None:
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nHERE='{self.folder}'\n{script}\n")
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.bin / name).unlink()

    def prepare(self, *arguments: str, python: str = sys.executable, **variables: str) -> tuple[int, str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.folder), "PACKAGED": BOOKWORM, **variables}
        done = subprocess.run(
            [python, "-I", ".ci/prepare.py", *arguments],
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def log(self) -> list[str]:
        """Every call of apt-get: DEBIAN_FRONTEND, http_proxy, arguments."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def installed(self) -> list[str]:
        """The packages of each installation."""
        return [line.partition("--no-install-recommends ")[2] for line in self.log if " install " in line]


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Debian with apt and without everything else, used by a user without rights."""
    machine = Machine(tmp_path)
    machine.add("apt-get", APT_GET)
    machine.add("apt-cache", APT_CACHE)
    machine.add("id", "echo 1000")
    return machine


@pytest.fixture
def roots(bare: Machine) -> Machine:
    """The same, used by root."""
    bare.add("id", "echo 0")
    return bare


def test_root_gets_what_is_missing_in_one_installation(roots: Machine) -> None:
    status, printed = roots.prepare()
    assert status == 0, printed
    assert roots.installed == [f"python3.11 {JAVA_17} g++ make python3.11-dev"]
    assert [line.split()[-1] for line in roots.log[:1]] == ["update"]
    assert all(line.startswith("noninteractive ") for line in roots.log)
    assert all(f"  {name}: " in printed for name in ("Python 3.11", "Java 17", "C++17 compiler", "make"))
    assert "Installing with apt-get: " in printed


def test_what_the_set_up_takes_is_printed_before_it_and_never_after(roots: Machine) -> None:
    _, printed = roots.prepare()
    assert printed.index("Setting up recsim, once") < printed.index("Installing with apt-get")
    _, printed = roots.prepare()
    assert "Setting up recsim, once" in printed  # there is no environment yet
    (roots.checkout / ".venv").mkdir()
    (roots.checkout / ".venv" / ".made-from").touch()
    assert roots.prepare() == (0, "")
    assert len(roots.installed) == 1


def test_programs_that_only_some_targets_need_are_installed_for_them(roots: Machine) -> None:
    roots.prepare()
    assert roots.prepare("wrk")[0] == 0
    assert roots.prepare("chromium", "wrk")[0] == 0
    assert roots.installed[1:] == ["wrk", "chromium"]


def test_a_sudo_that_asks_for_no_password_installs_and_keeps_the_proxy(bare: Machine) -> None:
    bare.add("sudo", SUDO)
    status, printed = bare.prepare(http_proxy="http://proxy:3128")
    assert status == 0, printed
    assert len(bare.installed) == 1
    assert all(line.startswith("noninteractive http://proxy:3128 ") for line in bare.log)


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "no lists"])
def test_without_rights_one_command_is_printed(bare: Machine, lists: bool) -> None:
    if lists:
        (bare.folder / "lists").touch()
    status, printed = bare.prepare("wrk", OPTIONS="" if lists else "yes")
    assert status == 2
    packages = f"python3.11 {JAVA_17} g++ make wrk python3.11-dev"
    assert f"\n  apt-get update && apt-get install -y --no-install-recommends {packages}\n" in printed
    assert "As root, run this command, then `make` again" in printed
    assert bare.installed == []


def test_a_sudo_that_asks_for_a_password_is_not_asked(bare: Machine) -> None:
    bare.add("sudo", SUDO)
    (bare.folder / "lists").touch()
    status, printed = bare.prepare(PASSWORD="yes")
    assert status == 2
    assert "\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends python3.11 " in printed
    assert bare.log == []


def test_the_next_java_is_chosen_and_uv_brings_python_where_both_are_not_packaged(roots: Machine) -> None:
    roots.add("uv", UV)
    status, printed = roots.prepare(PACKAGED=TRIXIE)
    assert status == 0, printed
    assert roots.installed == [f"{JAVA_21} g++ make"]
    _, found = roots.prepare("--python")
    assert found == "/usr/bin/python3.11\n"
    assert (roots.checkout / ".tools/python/cpython-3.11.18/bin/python3.11").exists()


def test_a_python_whose_headers_are_not_packaged_is_left_for_that_of_uv(roots: Machine) -> None:
    roots.add("uv", UV)
    roots.add("python3.11", "echo 3 11 final False /usr/local/bin/python3.11")
    status, printed = roots.prepare(PACKAGED=TRIXIE)
    assert status == 0, printed
    assert roots.prepare("--python")[1] == "/usr/bin/python3.11\n"


def test_a_python_that_cannot_be_fetched_is_an_error_with_the_next_step(bare: Machine) -> None:
    bare.add("uv", UV)
    for name in ("java", "g++", "make"):
        bare.add(name, WORKS[name])
    status, printed = bare.prepare(PACKAGED=TRIXIE, OFFLINE="yes")
    assert status == 2
    assert "error: Failed to download" in printed
    assert "name a mirror in UV_PYTHON_INSTALL_MIRROR" in printed


def test_a_browser_that_is_not_packaged_is_left_for_playwright(roots: Machine) -> None:
    roots.add("python3.11", WORKS["python3.11"])
    status, printed = roots.prepare("chromium", "wrk", PACKAGED=NOBLE)
    assert status == 0, printed
    assert roots.installed == [f"{JAVA_17} g++ make wrk"]


def test_a_machine_without_apt_names_what_is_missing_and_fetches_nothing(bare: Machine) -> None:
    for name in ("apt-get", "apt-cache"):
        bare.remove(name)
    status, printed = bare.prepare()
    assert status == 2
    refusal = printed[printed.index("This machine lacks something") :]
    assert [line.split(":")[0].strip() for line in refusal.splitlines()[1:]] == [
        "Java 17",
        "C++17 compiler",
        "make",
    ]
    assert "Fetching" not in printed


def test_an_unknown_package_stops_it_before_anything_is_installed(roots: Machine) -> None:
    status, printed = roots.prepare(PACKAGED="python3.11 python3.11-dev g++ make")
    assert status == 2
    assert (
        f"Java 17: no java on the PATH, or it does not run. Run: sudo apt-get install {JAVA_17} (or"
        in printed
    )
    assert roots.installed == []


def test_without_the_network_the_lists_are_named(roots: Machine) -> None:
    status, printed = roots.prepare(OFFLINE="yes")
    assert status == 2
    assert "apt-get update failed:\n  W: Failed to fetch http://deb.debian.org/\nCheck network" in printed


def test_a_failing_installation_is_an_error_with_the_reason_and_the_next_step(roots: Machine) -> None:
    status, printed = roots.prepare(READ_ONLY="yes")
    assert status == 2
    assert "  E: Could not open lock file: Read-only file system\nCheck network, proxy and disk" in printed


def test_another_apt_is_waited_for(roots: Machine) -> None:
    status, printed = roots.prepare(LOCKED="yes")
    assert status == 0, printed
    assert all("DPkg::Lock::Timeout=120" in line for line in roots.log)
    assert "Waiting for another apt-get to end" in printed


def test_an_interrupted_installation_is_ended_first(roots: Machine) -> None:
    roots.add("dpkg", '[ "$*" != "--configure -a" ] || : > $HERE/configured')
    status, printed = roots.prepare(INTERRUPTED="yes")
    assert status == 0, printed
    assert len(roots.installed) == 2


def test_what_no_package_mends_is_refused_before_anything_is_installed(roots: Machine) -> None:
    status, printed = roots.prepare(JAVA_HOME="/nowhere")
    assert status == 2
    assert "JAVA_HOME: /nowhere/bin/java does not run. Unset JAVA_HOME" in printed
    assert "Setting up recsim, once" not in printed
    assert roots.log == []


def test_an_old_java_that_stays_the_first_is_an_error(roots: Machine) -> None:
    roots.add("java", """echo 'openjdk version "11.0.2"'""", "packages")
    status, printed = roots.prepare()
    assert status == 2
    assert "Java 17: java is Java 11." in printed


def test_a_home_that_cannot_be_written_is_refused(roots: Machine) -> None:
    status, printed = roots.prepare(HOME="/proc/nowhere")
    assert status == 2
    assert "/proc/nowhere cannot be written. Set HOME to a folder that you may write" in printed
    assert roots.log == []


@pytest.mark.parametrize("name", [f".ci/{script}" for script in SCRIPTS])
def test_every_python_from_3_6_on_can_parse_it(name: str) -> None:
    text = (ROOT / name).read_text()
    ast.parse(text, feature_version=(3, 6))
    assert "from __future__ import annotations" not in text


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.12", "3.13"])
def test_other_pythons_can_run_it(roots: Machine, version: str) -> None:
    python = next(
        (str(p) for p in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        shutil.which(f"python{version}"),
    )
    # pyenv has a shim of every version's name, also of those that are switched off.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"no Python {version} here")
    roots.add("uv", UV)
    status, printed = roots.prepare(python=python, PACKAGED=TRIXIE)
    assert status == 0, printed


@pytest.mark.parametrize(
    ("target", "programs"),
    [
        ("demo", ""),
        ("check", ""),
        ("test", " chromium wrk"),
        ("drill", " chromium wrk"),
        ("bench-serving", " wrk"),
    ],
)
def test_make_asks_for_what_the_target_needs(target: str, programs: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f".ci/prepare.py{programs}\n" in done.stdout.replace("prepare.py \n", "prepare.py\n")
