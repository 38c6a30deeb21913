"""The one place that imports TensorFlow and TensorFlow Similarity, and configures them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.gpus import ask_tensorflow, missing
from recsim_tasks.foundation.native_output import without_native_noise

# TensorFlow Similarity and Horovod are written for Keras 2; TensorFlow reads this when it is imported.
REQUIRED = {"TF_USE_LEGACY_KERAS": "1"}
# The environment may override these. Log level 2 shows errors of TensorFlow's C++, and no warnings. On
# processors without AVX-512 TensorFlow leaves oneDNN off, although training is 1.5 times as fast with it
# there.
DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}
# TensorFlow Similarity imports its plots, whose libraries (UMAP, Bokeh, Matplotlib) take each rank and each
# trial 2.7 s. Nothing here draws them: the module is left empty.
PLOTS = "tensorflow_similarity.visualization"
# From Ampere on a GPU computes in bfloat16, whose range is float32's: no loss has to be scaled.
BFLOAT16_SINCE = (8, 0)


def tensorflow(threads: int = 1, *, gpus: int = 0, deterministic: bool = False) -> ModuleType:
    """Return TensorFlow with Keras 2.

    The process's first call, which takes 3 s, sets `threads`, and hides the GPUs if `gpus` is 0. With `gpus`,
    float32 is float32: a GPU's default, TF32, keeps 10 bits of the mantissa, and the vectors of an exported
    model would differ from those of its LiteRT copy by up to 2e-3. Training computes in bfloat16 where TF32
    exists, so that only its small float32 layers are slower. `deterministic` restricts TensorFlow to
    operations that give the same bits each time, which is not a GPU's default. Raises `MissingError`, with
    TensorFlow's reason, when `gpus` are requested and it sees none.
    """
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.update(REQUIRED, **({} if gpus else {"CUDA_VISIBLE_DEVICES": "-1"}))
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        with without_native_noise():
            _first_import(threads)
    import tensorflow as tf

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if gpus:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        if not tf.config.list_physical_devices("GPU"):
            raise MissingError(missing(1, ask_tensorflow()))
    return tf  # type: ignore[no-any-return]


@cache
def tensorflow_similarity() -> ModuleType:
    """Return TensorFlow Similarity with the sub-modules that are used."""
    tensorflow()
    sys.modules.setdefault(PLOTS, ModuleType(PLOTS))
    with without_native_noise():
        import tensorflow_similarity.architectures.efficientnet
        import tensorflow_similarity.architectures.resnet18
        import tensorflow_similarity.layers
        import tensorflow_similarity.losses
        import tensorflow_similarity.models
    return tensorflow_similarity  # type: ignore[no-any-return]


def quiet_first_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a `tf.function` so that its first call, which optimizes the graph, does so without chatter."""
    called = False

    def call(*arguments: Any) -> Any:
        nonlocal called
        if called:
            return function(*arguments)
        called = True
        with without_native_noise():
            return function(*arguments)

    return call


def mixed_precision_policy() -> str:
    """Keras's policy for this device: `mixed_bfloat16` on a GPU that computes in it, else `float32`."""
    tf = tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    capable = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= BFLOAT16_SINCE
        for gpu in gpus
    ]
    return "mixed_bfloat16" if capable and all(capable) else "float32"


def _first_import(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
