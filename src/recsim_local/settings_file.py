"""A file with the settings of a stack, beside its state, so that `make up` can start it again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

FILE_NAME = "recsim.toml"


def write_settings_file(home: Path, settings: dict[str, str]) -> Path:
    """Write `RECSIM_*` variables and `home` as a file for `RECSIM_CONFIG`; returns its path."""
    variables = {"RECSIM_HOME": str(home.absolute()), **settings}
    lines = [
        f"{name.removeprefix('RECSIM_').lower()} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in variables.items()
    ]
    home.mkdir(parents=True, exist_ok=True)
    path = home.absolute() / FILE_NAME
    path.write_text("".join(lines))
    return path


def has_settings_file(home: Path) -> bool:
    """Whether `restart_command` would work."""
    return (home / FILE_NAME).is_file()


def restart_command(home: Path) -> str:
    """The command that starts the servers on `home` again."""
    return f"RECSIM_CONFIG={shlex.quote(str(home.absolute() / FILE_NAME))} make up"
