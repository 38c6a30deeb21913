from __future__ import annotations

from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.settings import Settings, load_settings


def test_a_variable_beats_the_file_and_the_file_beats_the_default(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recsim.toml").write_text('ranks = 3\nseed = 1\nproducts = "s3a://shop/products"\n')
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    monkeypatch.setenv("RECSIM_SEED", "2")
    loaded = load_settings()
    assert (loaded.ranks, loaded.seed, loaded.products_uri) == (3, 2, "s3a://shop/products")
    assert loaded.tune_trials == settings.tune_trials


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECSIM_RANK", "2"),
        ("RECSIM_MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
    ],
)
def test_an_unknown_variable_is_refused_by_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"Unknown setting {name}"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_withdrawn_share", "1.01"),
        ("gate_min_recall", "-0.1"),
        ("ranks", "two"),
        ("ranks", "0"),
        ("port", "70000"),
        ("image_size", "8"),
        ("image_channels", "2"),
        ("image_channels", "4"),
        ("seed", ""),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RECSIM_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=name) as refused:
        load_settings()
    assert repr(value) in str(refused.value)
    assert refused.value.exit_code == 2


def test_all_wrong_values_are_named_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_RANKS", "two")
    monkeypatch.setenv("RECSIM_PORT", "http")
    with pytest.raises(ConfigurationError, match=r"ranks.*port"):
        load_settings()


@pytest.mark.parametrize("content", ["rank = 2", "max_withdrawn_share = 2.0", 'ranks = "two"'])
def test_a_wrong_key_or_value_of_the_file_is_refused_by_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "recsim.toml").write_text(content)
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    with pytest.raises(ConfigurationError, match=content.split(" ", maxsplit=1)[0]):
        load_settings()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("by_file", [True, False])
def test_images_are_grey_or_in_colour(
    channels: int, by_file: bool, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recsim.toml").write_text(f"image_channels = {channels}")
    monkeypatch.setenv(
        "RECSIM_CONFIG" if by_file else "RECSIM_IMAGE_CHANNELS",
        str(tmp_path / "recsim.toml") if by_file else str(channels),
    )
    assert load_settings().image_channels == channels


def test_a_file_that_is_not_there_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigurationError, match=r"absent\.toml, which is not a file"):
        load_settings()


def test_a_file_that_is_not_toml_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recsim.toml").write_text("ranks = [")
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    with pytest.raises(ConfigurationError, match=r"recsim\.toml cannot be read"):
        load_settings()
