from __future__ import annotations

import pytest

from recsim_airflow.params import refresh_params
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = pytest.mark.airflow


def test_every_choice_has_a_title_and_a_text(settings: Settings) -> None:
    params = refresh_params(settings)
    assert set(params) == {"mode", "approval", "trials"}
    for name in ("mode", "approval"):
        assert set(params[name].schema["values_display"]) == set(params[name].schema["enum"])
    assert all(param.schema["title"] and param.description for param in params.values())


@pytest.mark.parametrize(("setting", "default", "maximum"), [("9", 9, 200), ("300", 300, 300)])
def test_the_number_of_trials_is_a_setting(
    setting: str, default: int, maximum: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_TUNE_TRIALS", setting)
    trials = refresh_params(load_settings())["trials"]
    assert (trials.resolve(), trials.schema["minimum"], trials.schema["maximum"]) == (default, 1, maximum)


def test_whether_a_release_needs_an_approval_is_a_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refresh_params(settings)["approval"].value == "none"
    monkeypatch.setenv("RECSIM_APPROVAL", "ask")
    assert refresh_params(load_settings())["approval"].value == "ask"
