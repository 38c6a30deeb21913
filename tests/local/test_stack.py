from __future__ import annotations

from pathlib import Path

import pytest

from recsim_local.stack import api_token
from recsim_tasks.foundation.settings import Settings


def test_the_token_of_the_http_api_may_be_in_the_settings_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_token({}) is None
    (tmp_path / "recsim.toml").write_text('api_token = "of-the-file"')
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    assert api_token({}) == "of-the-file"
    assert api_token({"RECSIM_API_TOKEN": "of-the-variable"}) == "of-the-variable"
