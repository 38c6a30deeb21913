from __future__ import annotations

from recsim_tasks.learning.model.saved_model_embedder import max_batch_size


def test_batches_for_a_gpu_fit_into_two_gibibytes() -> None:
    assert [max_batch_size(side) for side in (16, 28, 64, 128, 512)] == [2048, 2048, 512, 128, 8]
