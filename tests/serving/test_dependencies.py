from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def packages_of(group: str) -> set[str]:
    """All packages that the lock installs for one dependency group alone."""
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
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
