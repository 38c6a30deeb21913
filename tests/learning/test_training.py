from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pytest

from recsim_tasks.catalogue.table import head
from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.processes import descendants
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.parameters import RANGES
from recsim_tasks.learning.training import train
from recsim_tasks.learning.tuning import tune

UNLABELLED = 100

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_demo.dataset import FashionMnist

pytestmark = pytest.mark.ml

RANKS_SCRIPT = Path(__file__).with_name("ranks_that_drift.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(catalogue: Catalogue, home: Path) -> tuple[dict[str, Any], Path]:
    """One training with two real Horovod ranks on Spark."""
    return train(catalogue.settings(home), catalogue.cursor, {}, home / "model"), home / "model"


def test_two_ranks_train_a_model_that_tells_categories_apart(trained: tuple[dict[str, Any], Path]) -> None:
    result, model = trained
    assert result["ranks"] == 2
    assert result["metrics"]["precision_at_1"] > 0.6
    assert result["metrics"]["spread"] > 0.3
    assert {path.name for path in model.iterdir()} == {"saved_model", "model.tflite", "model.json"}


def test_the_model_folder_says_where_it_comes_from(trained: tuple[dict[str, Any], Path], catalogue: Catalogue) -> None:
    result, model = trained
    description = json.loads((model / "model.json").read_text())
    assert description["fingerprint"] == result["model_fingerprint"]
    assert description["catalogue"] == catalogue.cursor.as_json()
    assert description["mlflow_run_id"] == result["mlflow_run_id"]
    assert (description["ranks"], description["image_size"], description["image_channels"], description["embedding_size"]) == (2, 28, 1, 64)


def test_the_fingerprint_is_that_of_the_network_and_its_input(trained: tuple[dict[str, Any], Path]) -> None:
    result, model = trained
    facts = json.dumps({"embedding_size": 64, "image_channels": 1, "image_size": 28})
    expected = hashlib.sha256(facts.encode() + (model / "model.tflite").read_bytes()).hexdigest()
    assert result["model_fingerprint"] == Embedder(model).fingerprint == expected


def test_mlflow_has_the_measures_of_every_round(trained: tuple[dict[str, Any], Path], catalogue: Catalogue, home: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(catalogue.settings(home).tracking_uri)
    run = client.get_run(trained[0]["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["catalogue.table_id"] == catalogue.cursor.table_id
    assert run.data.params["ranks"] == "2"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert len(losses) == 8
    assert losses[-1].step == pytest.approx(6_000, abs=128)


def test_the_litert_copy_equals_the_saved_model(trained: tuple[dict[str, Any], Path], fashion_mnist: FashionMnist) -> None:
    from recsim_tasks.learning.backend import tensorflow

    tf = tensorflow()
    images = fashion_mnist.test_images[:600, ..., None]
    saved = tf.saved_model.load(str(trained[1] / "saved_model")).signatures["serving_default"](tf.constant(images))["embeddings"].numpy()
    embedder = Embedder(trained[1], threads=2)
    vectors = embedder.embed(images)
    assert np.abs(vectors - saved).max() < 1e-4
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(embedder.embed(images[7:8]) - vectors[7:8]).max() < 1e-4
    assert embedder.embed(images[:0]).shape == (0, 64)


def test_a_gpu_embeds_with_the_saved_model_and_one_that_is_not_there_is_named(
    trained: tuple[dict[str, Any], Path], fashion_mnist: FashionMnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a GPU TensorFlow is shown a processor: what is computed is the same SavedModel."""
    from recsim_tasks.learning.backend import tensorflow
    from recsim_tasks.learning.gpu_embedder import GpuEmbedder

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(UnavailableError, match="GPU 3, but TensorFlow sees none"):
        GpuEmbedder(trained[1], "3")
    monkeypatch.setattr(tensorflow().config, "list_physical_devices", lambda kind: ["a device"])
    images = fashion_mnist.test_images[:300, ..., None]
    assert np.abs(GpuEmbedder(trained[1], "0").embed(images) - Embedder(trained[1]).embed(images)).max() < 1e-4


def test_the_embedder_refuses_what_its_network_was_not_made_for(trained: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes uint8 images of \(28, 28, 1\)"):
        Embedder(trained[1]).embed(np.zeros((1, 28, 28, 3), np.uint8))
    with pytest.raises(InputError, match="holds no model"):
        Embedder(tmp_path)


def test_embedding_starts_without_tensorflow(trained: tuple[dict[str, Any], Path]) -> None:
    program = f"import sys, pathlib; from recsim_tasks.learning.embedder import Embedder; Embedder(pathlib.Path({str(trained[1])!r})); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_search_stays_inside_its_space_and_logs_every_trial(catalogue: Catalogue, home: Path) -> None:
    from mlflow import MlflowClient

    settings = catalogue.settings(home)
    result = tune(settings, catalogue.cursor, home / "tune.json", trials=3)
    tried = json.loads((home / "tune.json").read_text())["tried"]
    assert (result["trials"], len(tried), result["metric"]) == (3, 3, "map_at_r")
    assert all(low <= trial["params"][name] <= high for trial in tried for name, (low, high) in RANGES.items())
    assert result["best_score"] == max(trial["rounds"][-1]["map_at_r"] for trial in tried)
    client = MlflowClient(settings.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("recsim").experiment_id], order_by=["start_time"])
    search = next(run for run in runs if run.info.run_name == "tune")
    assert sum(run.data.tags.get("mlflow.parentRunId") == search.info.run_id for run in runs) == 3


def test_a_collapsed_model_is_refused_and_nothing_is_written(catalogue: Catalogue, home: Path) -> None:
    """A thousand products under one and the same picture: no network can tell them apart."""
    from deltalake import write_deltalake

    uri = str(home / "one-picture")
    products = catalogue.table.slice(UNLABELLED, 1_000)
    pictures = pa.array([products["image"][0].as_py()] * 1_000, pa.binary())
    write_deltalake(uri, products.set_column(products.schema.get_field_index("image"), "image", pictures))
    cursor = head(uri)
    assert cursor is not None
    with pytest.raises(RecsimError, match="The model collapsed"):
        train(catalogue.settings(home, products=uri, ranks=1, train_images=3_000), cursor, {}, home / "collapsed")
    assert not list(home.glob("*collapsed*"))


def test_more_ranks_than_slots_are_refused(catalogue: Catalogue, home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"3 ranks \(RECSIM_RANKS\) do not fit on the 2 slots"):
        train(catalogue.settings(home, ranks=3), catalogue.cursor, {}, home / "crowded")


def test_an_unreachable_mlflow_is_said_before_any_training(catalogue: Catalogue, home: Path) -> None:
    settings = catalogue.settings(home, mlflow_tracking_uri="http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"MLflow does not answer at http://127.0.0.1:9 \(MLFLOW_TRACKING_URI\)"):
        train(settings, catalogue.cursor, {}, home / "untracked")
    assert time.monotonic() - started < 30


def test_ranks_start_alike_notice_drift_and_die_with_their_driver(catalogue: Catalogue, tmp_path: Path) -> None:
    """The script trains for ever once it has shown that the weights agree and that a changed weight is noticed."""
    with (tmp_path / "log").open("w+") as log:
        driver = subprocess.Popen([sys.executable, RANKS_SCRIPT, catalogue.uri, tmp_path], stderr=log, stdout=log)
        family: list[psutil.Process] = []
        try:
            _wait_for(lambda: "drift noticed, training on" in (tmp_path / "log").read_text() or driver.poll() is not None, 300)
            said = (tmp_path / "log").read_text()
            assert "weights agree" in said, said[-3_000:]
            assert "drift noticed, training on" in said, said[-3_000:]
            family = descendants(driver.pid)
            assert len(family) >= 5  # the JVM, Spark's workers, two ranks
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        _wait_for(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family), 15)


def _wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
