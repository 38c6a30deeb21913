"""The one place that imports TensorFlow, and says how it must be set up."""

from __future__ import annotations

import os
import sys
from types import ModuleType

# TensorFlow Similarity and Horovod are written for Keras 2; TensorFlow looks at these when it is first imported.
VARIABLES = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
# From here on (Ampere) a GPU computes in bfloat16, whose range is float32's: no loss has to be scaled.
BFLOAT16_SINCE = (8, 0)


def tensorflow(threads: int = 1, gpus: int = 0) -> ModuleType:
    """Give TensorFlow with Keras 2. The process's first call, which takes 5 s, decides on `threads`, and hides the GPUs if `gpus` is 0."""
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.update(VARIABLES, **({} if gpus else {"CUDA_VISIBLE_DEVICES": "-1"}))
    import tensorflow as tf

    if first:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    return tf  # type: ignore[no-any-return]


def fastest_precision() -> str:
    """Keras's policy for this process's device: `mixed_bfloat16` on a GPU that computes in it, else `float32`."""
    tf = tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= BFLOAT16_SINCE for gpu in gpus]
    return "mixed_bfloat16" if able and all(able) else "float32"
