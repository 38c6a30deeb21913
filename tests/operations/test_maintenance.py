"""Maintenance of real tables beside a real registry."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations.maintenance import maintain
from recsim_tasks.release.registry.client import Registry


def models(settings: Settings) -> set[str]:
    reader = DeltaTable(settings.embeddings_uri).scan(columns=["model_fingerprint"])
    return set(pa.RecordBatchReader.from_stream(reader).read_all()["model_fingerprint"].to_pylist())


def embed(settings: Settings, model: str, days_ago: int) -> None:
    """An embedding by `model`, whose file says that it was written so long ago."""
    row = {"model_fingerprint": [model], "image_hash": ["a"], "embedding": [[1.0]], "thumbnail": [b""]}
    write_deltalake(settings.embeddings_uri, pa.table(row), mode="append", partition_by=["model_fingerprint"])
    table = DeltaTable(settings.embeddings_uri)
    log = Path(settings.embeddings_uri, "_delta_log", f"{table.version():020d}.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["modificationTime"] = int((time.time() - days_ago * 86_400) * 1000)
    log.write_text("\n".join(map(json.dumps, lines)))


def test_embeddings_go_when_no_release_uses_their_model_and_none_is_in_the_making(behind: Settings) -> None:
    (used,) = Registry(behind).model_fingerprints()
    embed(behind, used, days_ago=400)
    embed(behind, "forgotten", days_ago=31)
    embed(behind, "in the making", days_ago=29)
    assert maintain(behind).models_forgotten == 1
    assert models(behind) == {used, "in the making"}
    assert maintain(behind).models_forgotten == 0
