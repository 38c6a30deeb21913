from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings, load_settings


def test_a_secret_is_not_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_API_TOKEN", "swordfish")
    assert "swordfish" not in repr(load_settings())
    assert redacted("Bearer swordfish") == "Bearer ***"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("api_token = 1234567890", "api_token: Input should be a valid string"),
        ('api_tokn = "swordfish-1234567890"', "api_tokn: Extra inputs are not permitted"),
        ('api_token = ["1234567890"]', "api_token: Input should be a valid string"),
        ('api_token = "0"', "api_token: Value should have at least 8 items"),
        (
            'products = "s3a://key:1234567890@lake/products"',
            r"products: .* must not carry credentials.*s3a://\*\*\*@lake/products",
        ),
        ('inbox = "https://lake/inbox?sig=1234567890"', "inbox: .* must not carry credentials"),
        ('serving_url = "http://ada:1234567890@shop"', "serving_url: .* must not carry credentials"),
        ('spark_master = "spark://ada:1234567890@m"', "spark_master: .* must not carry credentials"),
        ('ranks = "http://ada:1234567890@shop"', "ranks: .*"),
    ],
)
def test_no_secret_is_shown_when_a_setting_is_wrong(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, named: str
) -> None:
    (tmp_path / "recsim.toml").write_text(line)
    monkeypatch.setenv("RECSIM_CONFIG", str(tmp_path / "recsim.toml"))
    with pytest.raises(ConfigurationError, match=named) as refused:
        load_settings()
    assert "1234567890" not in "".join(traceback.format_exception(refused.value))


def test_the_credentials_of_an_mlflow_server_go_where_its_client_looks_for_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "another")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:sword%40fish@mlflow.example:5000/path")
    assert (
        load_settings().tracking_uri
        == os.environ["MLFLOW_TRACKING_URI"]
        == "https://mlflow.example:5000/path"
    )
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (
        "ada",
        "sword@fish",
    )
    assert redacted("sword@fish, sword%40fish") == "***, ***"
    assert load_settings().tracking_uri == "https://mlflow.example:5000/path"


def test_an_address_of_a_server_without_credentials_stays_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000/team@home")
    assert load_settings().tracking_uri == "http://mlflow.example:5000/team@home"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ


def test_a_database_keeps_its_credentials_and_no_message_shows_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "postgresql://ada:12/34@56-swordfish@db/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert load_settings().tracking_uri == uri
    assert redacted(f"MLflow at {uri} fails") == "MLflow at postgresql://***@db/mlflow fails"


def test_what_is_no_address_of_a_server_is_refused_without_its_credentials(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:swordfish@[mlflow")
    with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_URI is not an address") as refused:
        load_settings()
    assert "swordfish" not in "".join(traceback.format_exception(refused.value))
