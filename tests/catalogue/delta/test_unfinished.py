from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from recsim_tasks.catalogue.delta.unfinished import remove_unfinished
from recsim_tasks.foundation.errors import ConfigurationError

LEFT = [
    "_delta_log/.00000000000000000000.json.6f0b.tmp",
    "_delta_log/.00000000000000000000.json.crc",
    "part-00000-5e1c-c000.snappy.parquet",
    ".part-00000-5e1c-c000.snappy.parquet.crc",
    "model_fingerprint=ab/part-00001-5e1c.c000.snappy.parquet",
    "_change_data/cdc-00000-5e1c.c000.snappy.parquet",
    "deletion_vector_5e1c.bin",
]
FOREIGN = [
    "_delta_log/00000000000000000000.json",
    "_delta_log/00000000000000000010.checkpoint.parquet",
    "_delta_log/_last_checkpoint",
    "prices.csv",
    "backup/part-00000-5e1c.parquet",
    "_delta_log/_commits/00000000000000000000.6f0b.json",
]


def put(table: Path, *names: str) -> Path:
    (table / "_delta_log").mkdir(parents=True)
    for name in names:
        (table / name).parent.mkdir(parents=True, exist_ok=True)
        (table / name).write_text("x")
    return table


@pytest.mark.parametrize("names", [[], LEFT])
def test_a_log_without_commits_is_removed_with_its_data_files(tmp_path: Path, names: list[str]) -> None:
    remove_unfinished(str(put(tmp_path / "products", *names)))
    assert list((tmp_path / "products").iterdir()) == []
    remove_unfinished(str(tmp_path / "nothing"))


@pytest.mark.parametrize("name", FOREIGN)
def test_nothing_is_removed_beside_foreign_files(tmp_path: Path, name: str) -> None:
    table = put(tmp_path / "products", *LEFT, name)
    with pytest.raises(ConfigurationError, match="Move its contents away"):
        remove_unfinished(str(table))
    assert all((table / each).exists() for each in (*LEFT, name))


def test_parquet_files_without_a_log_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "part-00000-a.parquet").write_text("x")
    with pytest.raises(ConfigurationError, match="no _delta_log"):
        remove_unfinished(str(tmp_path))
    assert (tmp_path / "part-00000-a.parquet").exists()


def test_a_table_folder_that_is_a_link_stays_a_link(tmp_path: Path) -> None:
    put(tmp_path / "disk", *LEFT)
    (tmp_path / "products").symlink_to(tmp_path / "disk")
    remove_unfinished(str(tmp_path / "products"))
    assert (tmp_path / "products").is_symlink()
    assert list((tmp_path / "disk").iterdir()) == []


def test_an_object_store_is_treated_the_same(bucket: UPath) -> None:
    put(bucket / "products", *LEFT)  # type: ignore[arg-type]
    bucket.fs.call_s3("put_object", Bucket="lake", Key="empty/_delta_log/", Body=b"")
    put(bucket / "other", FOREIGN[0])  # type: ignore[arg-type]
    for name in ("products", "empty"):
        remove_unfinished(str(bucket / name))
        assert bucket.fs.find(f"lake/{name}") == []
    with pytest.raises(ConfigurationError, match="Move its contents away"):
        remove_unfinished(str(bucket / "other"))
    assert bucket.fs.exists(f"lake/other/{FOREIGN[0]}")
