from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from recsim_tasks.cli.main import app


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    by_name: dict[str, Any] = {}
    for name, command in group.commands.items():
        by_name |= commands(command, f"{name} ") if hasattr(command, "commands") else {prefix + name: command}
    return by_name


def test_each_command_has_a_sentence_of_help_and_each_option_too() -> None:
    for name, command in commands(get_command(app)).items():
        assert str(command.help).endswith("."), name
        for option in command.params:
            assert option.help, f"recsim {name} --{option.name}"


def test_the_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in commands(get_command(app)) if name.split()[0] not in shown] == []


@pytest.mark.parametrize(
    "arguments", [["plan"], ["promote"], ["plan", "--mode", "all", "--refresh", "r"], ["no"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
