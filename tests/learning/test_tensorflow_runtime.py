from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from recsim_tasks.foundation.errors import MissingError

pytestmark = pytest.mark.ml

REPORT = """
import json, os
from recsim_tasks.learning import tensorflow_runtime
tf = tensorflow_runtime.tensorflow({arguments})
from tensorflow.python.framework import config
from tensorflow.python.util import _pywrap_util_port as port
print(json.dumps({{
    "onednn": [os.environ.get("TF_ENABLE_ONEDNN_OPTS"), port.IsMklEnabled()],
    "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
    "deterministic": config.is_op_determinism_enabled(),
    "log level": os.environ.get("TF_CPP_MIN_LOG_LEVEL"),
    "keras": tf.keras.Model.__module__.split(".")[0],
    "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
}}))
"""
# Makes TensorFlow report a GPU: this machine has none.
PRETEND = "import tensorflow; tensorflow.config.list_physical_devices = lambda kind=None: ['a GPU']\n"


def reported(arguments: str = "", before: str = "", **environment: str) -> dict[str, object]:
    """How `tensorflow_runtime` sets up TensorFlow in a new process."""
    names = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    program = before + REPORT.format(arguments=arguments)
    output = subprocess.run(
        [sys.executable, "-c", program], env={**bare, **environment}, stdout=subprocess.PIPE, check=True
    ).stdout
    return dict(json.loads(output.splitlines()[-1]))


def test_training_uses_onednn_and_keras_2_and_no_gpu() -> None:
    expected = {
        "onednn": ["1", True],
        "tf32": True,
        "deterministic": False,
        "log level": "2",
        "keras": "tf_keras",
        "gpus": "-1",
    }
    assert reported() == expected


def test_the_environment_may_switch_onednn_off_and_raise_the_log_level() -> None:
    result = reported(TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="0")
    assert (result["onednn"], result["log level"]) == (["0", False], "0")


IMPORT = """
import os
from recsim_tasks.learning import tensorflow_runtime
first_import = tensorflow_runtime._first_import
chatter = "Unable to register cuDNN factory: Attempting to register factory for plugin cuDNN when"
def noisy_import(threads):
    first_import(threads)
    os.write(2, f"E0000 1 cuda_dnn.cc:1] {chatter}\\nE0000 1 cuda_driver.cc:1] a real error\\n".encode())
tensorflow_runtime._first_import = noisy_import
tensorflow_runtime.tensorflow_similarity()
"""


def test_the_imports_print_real_errors_and_no_chatter() -> None:
    """NMSLIB's advice and, as a TensorFlow for GPUs prints them, a line on cuDNN and an error."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["E0000 1 cuda_driver.cc:1] a real error"]


def test_what_tensorflow_similarity_plots_with_is_not_imported() -> None:
    program = (
        "import sys; from recsim_tasks.learning import tensorflow_runtime;"
        "tensorflow_runtime.tensorflow_similarity();"
        "print([name for name in ('umap', 'bokeh', 'matplotlib') if name in sys.modules])"
    )
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert output.strip() == "[]"


def test_on_a_gpu_float32_is_float32_and_operations_can_be_deterministic() -> None:
    result = reported(
        "gpus=1, deterministic=True", PRETEND, TF_USE_LEGACY_KERAS="1", CUDA_VISIBLE_DEVICES="7"
    )
    assert (result["tf32"], result["deterministic"], result["gpus"]) == (False, True, "7")


def test_a_gpu_that_tensorflow_does_not_see_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    with pytest.raises(
        MissingError, match=r"1 GPU is requested .* but TensorFlow sees none on .*built for CPUs only"
    ):
        tensorflow(gpus=1)
