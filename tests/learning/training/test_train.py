from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from recsim_tasks.contracts import TrainResult
from recsim_tasks.foundation.errors import InputError, MissingError, UnavailableError
from recsim_tasks.foundation.processes import descendants
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.training.communicator import SILENCE_SECONDS
from recsim_tasks.learning.training.train import train

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_demo.fashion_mnist import FashionMnist

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("shared_spark")]

RANKS_SCRIPT = Path(__file__).with_name("ranks_that_drift.py")
EMBED_BY_TENSORFLOW = """
import sys, numpy as np
from recsim_tasks.learning.tensorflow_runtime import tensorflow
tf = tensorflow()
embed = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
np.save(sys.argv[3], embed(tf.constant(np.load(sys.argv[2])))["embeddings"])
"""
TRAINING_SCRIPT = Path(__file__).with_name("long_training.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def listeners() -> set[tuple[str, str]]:
    """Programs and the addresses that they listened on while `trained` ran."""
    return set()


@pytest.fixture(scope="module")
def trained(catalogue: Catalogue, home: Path, listeners: set[tuple[str, str]]) -> tuple[TrainResult, Path]:
    """One training with two real Horovod ranks on Spark."""
    with watched(listeners):
        return train(catalogue.settings(home), catalogue.cursor, {}, home / "model"), home / "model"


@contextmanager
def watched(listeners: set[tuple[str, str]]) -> Iterator[None]:
    """Collect the addresses on which this process and its descendants listen."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for process in [psutil.Process(), *descendants(os.getpid())]:
                with suppress(psutil.Error):
                    listeners.update((program(process), address) for address in addresses_of(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def addresses_of(process: psutil.Process) -> set[str]:
    """Addresses where it listens, or is connected with this machine: ranks listen for a moment only."""
    sockets = process.net_connections("tcp")
    return {
        s.laddr.ip
        for s in sockets
        if s.status == psutil.CONN_LISTEN or (s.raddr and s.raddr.ip == s.laddr.ip)
    }


def program(process: psutil.Process) -> str:
    command = process.cmdline()
    if process.pid == os.getpid():
        return "driver"
    return next(
        (name for name in ("gloo_exec_fn", "pyspark.daemon") if any(name in word for word in command)),
        process.name(),
    )


def test_two_ranks_train_a_model_that_separates_categories(trained: tuple[TrainResult, Path]) -> None:
    result, model = trained
    assert result.ranks == 2
    assert result.metrics["precision_at_1"] > 0.5
    assert result.metrics["spread"] > 0.3
    assert {path.name for path in model.iterdir()} == {"saved_model", "model.tflite", "model.json"}


def test_a_training_on_one_machine_listens_on_loopback_only(
    trained: tuple[TrainResult, Path], listeners: set[tuple[str, str]]
) -> None:
    """Horovod's services unpickle what they receive: another machine must not reach them."""
    assert {name for name, _ in listeners} >= {"driver", "java", "pyspark.daemon", "gloo_exec_fn"}, (
        "services that were not observed"
    )
    assert {address.removeprefix("::ffff:") for _, address in listeners} == {"127.0.0.1"}, listeners


def test_the_model_folder_records_the_training(
    trained: tuple[TrainResult, Path], catalogue: Catalogue
) -> None:
    result, model = trained
    description = json.loads((model / "model.json").read_text())
    assert description["fingerprint"] == result.model_fingerprint
    assert description["catalogue"] == catalogue.cursor.as_json()
    assert description["mlflow_run_id"] == result.mlflow_run_id
    assert (
        description["ranks"],
        description["image_size"],
        description["image_channels"],
        description["embedding_size"],
    ) == (2, 28, 1, 64)


def test_the_fingerprint_covers_the_network_and_its_input(trained: tuple[TrainResult, Path]) -> None:
    result, model = trained
    facts = json.dumps({"background": "white", "embedding_size": 64, "image_channels": 1, "image_size": 28})
    expected = hashlib.sha256(facts.encode() + (model / "model.tflite").read_bytes()).hexdigest()
    assert result.model_fingerprint == Embedder(model).fingerprint == expected


def test_mlflow_has_the_metrics_of_every_round(
    trained: tuple[TrainResult, Path], catalogue: Catalogue, home: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(catalogue.settings(home).tracking_uri)
    run = client.get_run(trained[0].mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["catalogue.table_id"] == catalogue.cursor.table_id
    assert run.data.params["ranks"] == "2"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert len(losses) == 8
    assert losses[-1].step == pytest.approx(6_000, abs=128)


def test_the_litert_copy_equals_the_saved_model(
    trained: tuple[TrainResult, Path], fashion_mnist: FashionMnist
) -> None:
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    tf = tensorflow()
    images = fashion_mnist.test_images[:600, ..., None]
    saved = (
        tf.saved_model.load(str(trained[1] / "saved_model"))
        .signatures["serving_default"](tf.constant(images))["embeddings"]
        .numpy()
    )
    embedder = Embedder(trained[1], threads=2)
    vectors = embedder.embed(images)
    assert np.abs(vectors - saved).max() < 1e-4
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(embedder.embed(images[7:8]) - vectors[7:8]).max() < 1e-4
    assert embedder.embed(images[:0]).shape == (0, 64)


def test_embeddings_are_the_same_with_onednn_without_it_and_in_litert(
    trained: tuple[TrainResult, Path], fashion_mnist: FashionMnist, tmp_path: Path
) -> None:
    """Within the tolerances of the export and of a release's canaries."""
    from recsim_tasks.learning.model.export import TOLERANCE as EXPORTED
    from recsim_tasks.release.bundle import TOLERANCE as CANARIES

    images, vectors = fashion_mnist.test_images[:600, ..., None], {}
    np.save(tmp_path / "images.npy", images)
    for onednn in ("0", "1"):
        vectors[onednn] = tmp_path / f"{onednn}.npy"
        command = [
            sys.executable,
            "-c",
            EMBED_BY_TENSORFLOW,
            str(trained[1] / "saved_model"),
            str(tmp_path / "images.npy"),
            str(vectors[onednn]),
        ]
        subprocess.run(command, env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn}, check=True)
    litert, without, using = (
        Embedder(trained[1]).embed(images),
        *(np.load(vectors[onednn]) for onednn in ("0", "1")),
    )
    assert not np.array_equal(without, using), "oneDNN computed nothing"
    assert max(np.abs(one - other).max() for one, other in ((litert, without), (litert, using))) < min(
        EXPORTED, CANARIES
    )


def test_a_gpu_embeds_with_the_saved_model_and_a_missing_one_is_named(
    trained: tuple[TrainResult, Path], fashion_mnist: FashionMnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow is made to report a GPU: the processor runs the same SavedModel."""
    from recsim_tasks.learning.model.saved_model_embedder import GpuEmbedder
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(
        MissingError,
        match=r"TensorFlow sees none on .* \(CUDA_VISIBLE_DEVICES leaves 3\): .*built for CPUs only",
    ):
        GpuEmbedder(trained[1], "3")
    monkeypatch.setattr(tensorflow().config, "list_physical_devices", lambda kind: ["a device"])
    images = fashion_mnist.test_images[:300, ..., None]
    embedder = GpuEmbedder(trained[1], "0")
    assert not tensorflow().config.experimental.tensor_float_32_execution_enabled()
    assert np.abs(embedder.embed(images) - Embedder(trained[1]).embed(images)).max() < 1e-4


def test_the_embedder_refuses_images_of_another_shape_and_an_empty_folder(
    trained: tuple[TrainResult, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"takes uint8 images of \(28, 28, 1\)"):
        Embedder(trained[1]).embed(np.zeros((1, 28, 28, 3), np.uint8))
    with pytest.raises(InputError, match="contains no model"):
        Embedder(tmp_path)


def test_embedding_starts_without_tensorflow(trained: tuple[TrainResult, Path]) -> None:
    program = (
        "import pathlib, sys; from recsim_tasks.learning.embedder import Embedder; "
        "Embedder(pathlib.Path(sys.argv[1])); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, trained[1]], check=True)


def test_mlflow_has_the_catalogues_version_the_table_and_the_plots(
    trained: tuple[TrainResult, Path], catalogue: Catalogue, home: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(catalogue.settings(home).tracking_uri)
    run = client.get_run(trained[0].mlflow_run_id)
    assert run.inputs is not None
    (dataset_input,) = run.inputs.dataset_inputs
    assert json.loads(dataset_input.dataset.source) == {"uri": catalogue.uri, **catalogue.cursor.as_json()}
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "quality")}
    plots = {"learning-curves", "neighbours", "worst-queries", "best-queries", "map"}
    assert names == {"quality/table.md", "quality/table.json", *(f"quality/{name}.png" for name in plots)}
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "quality/table.json")).read_text())
    assert set(table) == {"this model", "raw pixels", "PCA of the pixels", "untrained network"}
    assert (
        run.data.metrics["test_map_at_r"] == table["this model"]["map_at_r"] == trained[0].quality["map_at_r"]
    )
    assert table["this model"]["map_at_r"] > max(
        table[name]["map_at_r"] for name in table if name != "this model"
    )
    assert {name for name in table["this model"]["slices"] if name.startswith("category")} == {
        f"category {n}" for n in range(10)
    }
    assert sum(part["queries"] for part in table["raw pixels"]["slices"].values()) == table_queries(catalogue)


def table_queries(catalogue: Catalogue) -> int:
    rows = catalogue.table.select(["category", "image_hash"]).to_pylist()
    return sum(bool(row["category"]) and split_of(row["image_hash"]) == "test" for row in rows)


def test_a_finished_training_is_not_repeated_and_returns_the_same_result(
    trained: tuple[TrainResult, Path], catalogue: Catalogue, home: Path
) -> None:
    began = time.monotonic()
    again = train(catalogue.settings(home), catalogue.cursor, {}, home / "model")
    assert again == trained[0]
    assert time.monotonic() - began < 20
    assert not (home / "checkpoints").exists()


def test_an_unreachable_mlflow_is_reported_before_any_training(catalogue: Catalogue, home: Path) -> None:
    settings = catalogue.settings(home, mlflow_tracking_uri="http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(
        UnavailableError, match=r"MLflow at http://127.0.0.1:9 \(MLFLOW_TRACKING_URI\) does not answer"
    ):
        train(settings, catalogue.cursor, {}, home / "untracked")
    assert time.monotonic() - started < 30


@pytest.mark.drill
def test_ranks_start_equal_notice_drift_and_die_with_their_driver(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """The script trains for ever once the weights were equal and a changed weight was noticed."""
    with training(RANKS_SCRIPT, catalogue, tmp_path) as driver:
        wait_for(lambda: "drift noticed, training on" in log_of(tmp_path) or driver.poll() is not None, 300)
        assert "weights are equal" in log_of(tmp_path), log_of(tmp_path)[-3_000:]
        assert "drift noticed, training on" in log_of(tmp_path), log_of(tmp_path)[-3_000:]
        family = descendants(driver.pid)
        assert len(family) >= 5  # the JVM, Spark's workers, two ranks
        ranks = ranks_of(family)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_for(lambda: not alive(ranks), 10)
        wait_for(lambda: not alive(family), 20)


@pytest.mark.drill
def test_a_training_resumes_after_a_killed_rank_a_frozen_rank_and_a_killed_driver(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """One training in four tries, each from the last checkpoint; the fourth waits for the third to end."""
    with training(TRAINING_SCRIPT, catalogue, tmp_path, "first") as driver:
        family = under_way(driver, tmp_path, "first")
        ranks_of(family)[-1].kill()
        ends_by_itself(driver, family, tmp_path, "first")
    with training(TRAINING_SCRIPT, catalogue, tmp_path, "second") as driver:
        family = under_way(driver, tmp_path, "second")
        frozen = ranks_of(family)[-1]
        frozen.suspend()
        wait_for(lambda: not alive([frozen]), SILENCE_SECONDS + 10)
        ends_by_itself(driver, family, tmp_path, "second")
        assert f"Process {frozen.pid} has been frozen for {SILENCE_SECONDS} s and is killed" in log_of(
            tmp_path, "second"
        )
    with training(TRAINING_SCRIPT, catalogue, tmp_path, "third") as driver:
        family = under_way(driver, tmp_path, "third")
        driver.kill()
        with training(TRAINING_SCRIPT, catalogue, tmp_path, "fourth") as last:
            driver.wait()
            wait_for(lambda: not alive(ranks_of(family)), 10)
            under_way(last, tmp_path, "fourth")
            assert not alive(family)


def under_way(driver: subprocess.Popen[bytes], home: Path, log: str) -> list[psutil.Process]:
    """All processes of a training that has finished a round; all but the first have resumed."""
    wait_for(lambda: "Training: after" in log_of(home, log) or driver.poll() is not None, 300)
    family = descendants(driver.pid)
    assert len(ranks_of(family)) == 2, log_of(home, log)[-3_000:]
    assert ("Resuming from the checkpoint after" in log_of(home, log)) == (log != "first")
    return family


def ends_by_itself(
    driver: subprocess.Popen[bytes], family: list[psutil.Process], home: Path, log: str
) -> None:
    assert driver.wait(timeout=60) != 0
    assert "a rank failed" in log_of(home, log)
    wait_for(lambda: not alive(family), 20)


def ranks_of(family: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that train, without the shells that started them."""
    return [process for process in alive(family) if "horovod.spark.task.gloo_exec_fn" in process.cmdline()]


@contextmanager
def training(
    script: Path, catalogue: Catalogue, home: Path, log: str = "log"
) -> Iterator[subprocess.Popen[bytes]]:
    """A training in a process of its own, which is ended with all its descendants."""
    with (home / log).open("w") as file:
        driver = subprocess.Popen([sys.executable, script, catalogue.uri, home], stderr=file, stdout=file)
        family: list[psutil.Process] = []
        try:
            yield driver
        finally:
            family = descendants(driver.pid)
            driver.kill()
            driver.wait()
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    living = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def log_of(home: Path, log: str = "log") -> str:
    return (home / log).read_text()


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
