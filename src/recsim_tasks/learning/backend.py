"""The one place that imports TensorFlow, and says how it must be set up."""

from __future__ import annotations

import os
import sys
from types import ModuleType

# TensorFlow Similarity and Horovod are written for Keras 2; TensorFlow looks at these when it is first imported.
VARIABLES = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def tensorflow(threads: int = 1, gpus: int = 0) -> ModuleType:
    """Give TensorFlow with Keras 2. The process's first call, which takes 5 s, decides on `threads`, and hides the GPUs if `gpus` is 0."""
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.update(VARIABLES, **({} if gpus else {"CUDA_VISIBLE_DEVICES": "-1"}))
    import tensorflow as tf

    if first:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf  # type: ignore[no-any-return]
