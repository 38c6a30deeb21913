from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def brought_by(group: str) -> set[str]:
    """All packages that the lock installs for one dependency group without the others."""
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    wanted = [
        dependency
        for each in packages
        if each["name"] == "recsim"
        for dependency in each["dev-dependencies"][group]
    ]
    wanted += [
        dependency for each in packages if each["name"] == "recsim" for dependency in each["dependencies"]
    ]
    by_name = {each["name"]: each for each in packages}
    found: set[str] = set()
    while wanted:
        dependency = wanted.pop()
        if dependency["name"] not in found:
            found.add(dependency["name"])
            wanted += by_name[dependency["name"]].get("dependencies", [])
        for extra in dependency.get("extra", []):
            wanted += by_name[dependency["name"]].get("optional-dependencies", {}).get(extra, [])
    return found


def test_the_serving_group_installs_what_serving_uses() -> None:
    assert {"uvicorn", "uvloop", "httptools", "fastapi", "streamlit"} <= brought_by("serve")


def test_the_groups_stay_apart() -> None:
    assert (
        brought_by("serve") & {"tensorflow-cpu", "tensorflow", "pyspark", "horovod", "apache-airflow"}
        == set()
    )
