from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from recsim_demo.demo import SETTINGS
from recsim_local.settings_file import restart_command, write_settings_file
from recsim_local.stack import own_locations
from recsim_local.up import demo_hint
from recsim_tasks.foundation.settings import Settings, load_settings


def test_the_command_starts_servers_with_the_settings_of_the_demo(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "my demo"
    write_settings_file(home, SETTINGS | own_locations(home))
    variable, *command = shlex.split(restart_command(home))
    assert command == ["make", "up"]
    name, _, value = variable.partition("=")
    monkeypatch.delenv("RECSIM_HOME")
    monkeypatch.setenv(name, value)
    again = load_settings()
    assert (again.home, again.image_size, again.image_channels) == (home, 28, 1)
    assert again.products_uri == str(home / "tables" / "products")


def test_make_up_without_a_catalogue_names_the_command_for_the_demos(settings: Settings) -> None:
    assert demo_hint(settings) is None, "there is no demo"
    demo = settings.home / "demo"
    write_settings_file(demo, SETTINGS)
    assert restart_command(demo) in (demo_hint(settings) or "")
    Path(settings.products_uri).mkdir(parents=True)
    assert demo_hint(settings) is None, "there is a catalogue"
