from __future__ import annotations

import os
import subprocess
import sys

import pytest

from recsim_tasks.foundation.native_output import without_native_noise

AGAIN = "Attempting to register factory for plugin"
NOISY = "\n".join(
    (
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        f"E0000 cuda_dnn.cc:8310] Unable to register cuDNN factory: {AGAIN} cuDNN when one has",
        f"E0000 cuda_blas.cc:1418] Unable to register cuBLAS factory: {AGAIN} cuBLAS when one has",
        "I tensorflow/core/util/port.cc:153] oneDNN custom operations are on. "
        "You may see slightly different numerical results due to floating-point round-off errors.",
        "E tensorflow/core/util/util.cc:131] oneDNN supports DT_INT64 only on platforms with AVX-512. "
        "Falling back to the default Eigen-based implementation if present.",
        "Your CPU supports instructions that this binary was not compiled to use: SSE3 AVX2",
        "For maximum performance, you can install NMSLIB from sources",
        "pip install --no-binary :all: nmslib",
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "",
    )
).encode()
REAL = b"""\
E0000 00:00:1732.5 77 cuda_dnn.cc:456] Loaded runtime CuDNN library: 9.1.0 but built with: 9.3.0
W tensorflow/core/framework/op_kernel.cc] OP_REQUIRES failed: RESOURCE_EXHAUSTED: OOM when allocating tensor
WARNING recsim_tasks.learning.training.checkpoints: The checkpoint 00010 is damaged
"""


def test_chatter_is_dropped_and_real_warnings_and_errors_pass(capfd: pytest.CaptureFixture[str]) -> None:
    with without_native_noise():
        os.write(2, NOISY + REAL + NOISY)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == REAL.decode() + "afterwards\n"


def test_outside_the_block_nothing_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, NOISY)
    assert capfd.readouterr().err == NOISY.decode()


def test_blocks_nest(capfd: pytest.CaptureFixture[str]) -> None:
    with without_native_noise():
        with without_native_noise():
            os.write(2, NOISY)
        os.write(2, NOISY + REAL)
    assert capfd.readouterr().err == REAL.decode()


def test_the_last_words_of_a_process_that_crashes_inside_get_through() -> None:
    program = (
        "import os; from recsim_tasks.foundation.native_output import without_native_noise\n"
        "with without_native_noise(): os.write(2, b'Check failed: out of memory\\n'); os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode < 0
    assert "Check failed: out of memory" in done.stderr
