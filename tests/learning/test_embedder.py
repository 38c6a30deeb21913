from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.embedder import DESCRIPTION_FILE, EncoderDescription, TrainedEncoderDescription
from recsim_tasks.learning.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

FIELDS: dict[str, Any] = {
    "fingerprint": "f" * 64,
    "image_size": 28,
    "image_channels": 1,
    "background": "white",
    "embedding_size": 64,
}
TRAINED: dict[str, Any] = {
    **FIELDS,
    "training": "d" * 64,
    "catalogue": {"table_id": "t", "version": 3},
    "backbone": "cnn",
    "categories": ["bag", "shoe"],
    "params": {"learning_rate": 0.003, "pair_loss": "supcon"},
    "metrics": {"loss": 1.0},
    "quality": {},
    "ranks": 2,
    "mlflow_run_id": "run",
    "trained_at": 5.0,
}


def folder(path: Path, fields: object) -> Path:
    (path / DESCRIPTION_FILE).write_text(json.dumps(fields))
    return path


def test_a_description_is_read_without_the_model(tmp_path: Path) -> None:
    description = EncoderDescription.read(folder(tmp_path, {**FIELDS, "digests": {}}))
    assert description.preprocessing == Preprocessing(28, 1)
    assert (description.catalogue, description.mlflow_run_id) == (None, None)


def test_a_trained_encoder_has_its_training(tmp_path: Path) -> None:
    description = TrainedEncoderDescription.read(folder(tmp_path, TRAINED))
    assert description.catalogue == Cursor("t", 3)
    assert description.model_dump(mode="json") == TRAINED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model.json: fingerprint: Field required"),
        ({**FIELDS, "image_size": "large"}, "model.json: image_size: Input should be a valid integer"),
        (["no", "object"], "model.json: Input should be"),
    ],
)
def test_a_folder_without_a_description_is_refused_by_field(
    tmp_path: Path, fields: object, message: str
) -> None:
    with pytest.raises(InputError, match=f"contains no model that can be opened: {message}"):
        EncoderDescription.read(folder(tmp_path, fields))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Run `recsim train` first"):
        EncoderDescription.read(tmp_path)


def test_a_description_of_an_untrained_encoder_has_no_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training: Field required"):
        TrainedEncoderDescription.read(folder(tmp_path, FIELDS))


def test_reading_a_description_imports_no_runtime(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from recsim_tasks.learning.embedder import EncoderDescription\n"
        "EncoderDescription.read(pathlib.Path(sys.argv[1]))\n"
        "sys.exit(bool({'tensorflow', 'ai_edge_litert'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program, folder(tmp_path, FIELDS)], check=True)
