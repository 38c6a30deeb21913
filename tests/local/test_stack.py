from __future__ import annotations

from pathlib import Path

import pytest

from recsim_local.stack import api_token, own_locations
from recsim_tasks.foundation.settings import Settings, load_settings


def test_the_token_of_the_http_api_may_be_in_the_settings_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_token({}) is None
    (tmp_path / "recsim.toml").write_text('api_token = "of-the-file"')
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    assert api_token({}) == "of-the-file"
    assert api_token({"RECSIM_API_TOKEN": "of-the-variable"}) == "of-the-variable"


def test_a_demo_touches_no_table_and_no_inbox_of_the_callers_settings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("products", "quarantine", "withdrawals", "embeddings", "inbox")
    (tmp_path / "recsim.toml").write_text("".join(f'{name} = "s3a://lake/{name}"\n' for name in names))
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    home = tmp_path / "demo"
    for name, value in {"RECSIM_HOME": str(home), **own_locations(home)}.items():
        monkeypatch.setenv(name, value)
    demo = load_settings()
    locations = [demo.products_uri, demo.quarantine_uri, demo.withdrawals_uri, demo.embeddings_uri]
    assert locations == [str(home / "tables" / name) for name in names[:4]]
    assert demo.inbox_dir == home / "inbox"
