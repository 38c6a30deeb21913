from __future__ import annotations

import csv
import re
import tomllib
from collections import defaultdict
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "uv.lock"
# Two wheels ship their own tests under this name. Nothing imports them.
STRAYS = {"tests/conftest.py"}


def recorded(distribution: Distribution) -> dict[str, str]:
    """The digest of each file of a distribution, by its path in site-packages, without scripts in `bin`."""
    lines = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    return {path: digest for path, digest, _ in lines if digest and not path.startswith("../")}


def contested(installed: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The files that several distributions installed with different contents, and these distributions."""
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    for name, files in installed.items():
        for path, digest in files.items():
            owners[path][name] = digest
    return {path: sorted(digest_of) for path, digest_of in owners.items() if len(set(digest_of.values())) > 1}


def test_no_two_distributions_of_the_environment_overwrite_each_others_files() -> None:
    installed = {distribution.metadata["Name"]: recorded(distribution) for distribution in distributions()}

    found = {path: owners for path, owners in contested(installed).items() if path not in STRAYS}

    assert not found, f"{len(found)} files, the first: {list(found.items())[:3]}"
    assert sum(map(len, installed.values())) > 1_000, "the environment records no files"


def test_a_file_is_contested_if_two_distributions_install_it_with_different_contents() -> None:
    installed = {
        "mlflow": {"mlflow/a.py": "1", "mlflow/b.py": "2"},
        "mlflow-skinny": {"mlflow/a.py": "1", "mlflow/b.py": "3"},
    }

    assert contested(installed) == {"mlflow/b.py": ["mlflow", "mlflow-skinny"]}


def test_one_distribution_brings_tensorflow() -> None:
    names = {
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower() for distribution in distributions()
    }

    assert len(names & {"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"}) == 1


def test_the_lock_has_the_tensorflow_of_processors_alone() -> None:
    names = re.findall(r'^name = "(tensorflow(?:-cpu|-gpu)?)"$', LOCK.read_text(), re.MULTILINE)

    assert names == ["tensorflow-cpu"]


def packages_of(group: str) -> set[str]:
    """All packages that the lock installs for one dependency group alone."""
    packages: list[dict[str, Any]] = tomllib.loads(LOCK.read_text())["package"]
    pending = [
        dependency
        for each in packages
        if each["name"] == "recsim"
        for dependency in each["dev-dependencies"][group]
    ]
    pending += [
        dependency for each in packages if each["name"] == "recsim" for dependency in each["dependencies"]
    ]
    by_name = {each["name"]: each for each in packages}
    names: set[str] = set()
    while pending:
        dependency = pending.pop()
        if dependency["name"] not in names:
            names.add(dependency["name"])
            pending += by_name[dependency["name"]].get("dependencies", [])
        for extra in dependency.get("extra", []):
            pending += by_name[dependency["name"]].get("optional-dependencies", {}).get(extra, [])
    return names


def test_the_serving_group_installs_what_serving_uses() -> None:
    assert {"uvicorn", "uvloop", "httptools", "fastapi", "streamlit"} <= packages_of("serve")


def test_the_groups_stay_apart() -> None:
    assert (
        packages_of("serve") & {"tensorflow-cpu", "tensorflow", "pyspark", "horovod", "apache-airflow"}
        == set()
    )
