"""Keeps the start-up chatter of native libraries out of stderr, and nothing else.

TensorFlow, LiteRT and NMSLIB write to file descriptor 2, past `sys.stderr` and past `logging`. Log levels do
not stop the lines listed here: they are printed before the library reads its own level, or at the level of
errors.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

NOISE = (
    # absl, which TensorFlow's C++ logs through
    r"All log messages before absl::InitializeLog\(\) is called are written to STDERR",
    # a TensorFlow for GPUs registers its plugins twice; nothing is wrong
    r"Unable to register cu(DNN|BLAS|FFT) factory: Attempting to register factory for plugin",
    # the same, where the GPUs are hidden on purpose; a job that needs one ends with an error of its own
    r"failed call to cuInit: .*CUDA_ERROR_NO_DEVICE",
    r"oneDNN custom operations are on\. You may see slightly different numerical results",
    r"oneDNN supports DT_\w+ only on platforms with AVX-512\. Falling back to the default Eigen",
    r"This TensorFlow binary is optimized to use available CPU instructions",
    r"To enable the following instructions: .* rebuild TensorFlow with the appropriate compiler flags",
    # the conversion to LiteRT
    r"tf_tfl_flatbuffer_helpers\.cc:\d+\] Ignored (output_format|drop_control_dependency)\.",
    r"MLIR V1 optimization pass is not enabled",
    r"^INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.",
    # NMSLIB, which TensorFlow Similarity imports and recsim does not use
    r"Your CPU supports instructions that this binary was not compiled to use",
    r"For maximum performance, you can install NMSLIB from sources",
    r"^pip install --no-binary :all: nmslib",
)
# Copies its input to stderr, line by line, without the lines that match.
FILTER = """
import re, sys
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.search(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
FILTER_SECONDS = 5.0
_lock = threading.RLock()
_inside = threading.local()


@contextmanager
def without_native_noise() -> Iterator[None]:
    """Drop the lines of `NOISE` from whatever this process writes to stderr inside the block.

    A child process filters, so that the last words of a process that crashes inside the block still get
    through.
    """
    if getattr(_inside, "block", False):
        yield
        return
    with _lock:
        _inside.block = True
        try:
            with _filtered():
                yield
        finally:
            _inside.block = False


@contextmanager
def _filtered() -> Iterator[None]:
    sys.stderr.flush()
    stderr = os.dup(2)
    child = subprocess.Popen(
        [sys.executable, "-ISc", FILTER, "|".join(f"(?:{pattern})" for pattern in NOISE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    assert child.stdin is not None
    os.dup2(child.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        child.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # a process that was started inside still writes through it
            child.wait(FILTER_SECONDS)
