from __future__ import annotations

from pathlib import Path

from recsim_tasks.foundation.settings import Settings


def test_everything_lies_under_home_by_default(settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    locations = [
        str(settings.inbox_dir),
        settings.products_uri,
        settings.quarantine_uri,
        settings.embeddings_uri,
    ]
    assert all(location.startswith(str(home)) for location in locations)
    assert settings.tracking_uri == f"sqlite:///{home}/mlflow/mlflow.db"


def test_an_inbox_in_an_object_store_is_used_like_a_path(settings: Settings) -> None:
    inbox = settings.model_copy(update={"inbox": "s3://shop/inbox"}).inbox_dir
    assert (inbox / "feed").as_uri() == "s3://shop/inbox/feed"
