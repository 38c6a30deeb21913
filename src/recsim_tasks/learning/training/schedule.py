"""Schedules over the steps of a training: learning rate, weight of the pair loss, rounds. Pure."""

from __future__ import annotations

import math

WARM_UP_SHARE = 0.05
FINAL_SHARE = 0.01
PAIRS_FULL_SHARE = 0.3
REFERENCE_BATCH = 128
# For a warm start: the full rate would undo the champion's weights in the first steps.
WARM_START_RATE_SHARE = 0.3


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first twentieth of `steps`, then half a cosine down to 1% of `peak`."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))


def pair_loss_ramp(step: int, steps: int) -> float:
    """Factor of the pair loss: rises from 0 to 1 over the first three tenths of `steps`.

    A precaution: the pair loss alone is known to collapse, so the proxies separate the categories first.
    """
    return min(1.0, step / (PAIRS_FULL_SHARE * steps))


def scale_learning_rate(peak: float, global_batch: int) -> float:
    """Scale `peak`, which is for 128 images per step, to `global_batch` by the square root, as Adam's noise.

    S. Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022
    (https://arxiv.org/abs/2205.10287).
    """
    return peak * math.sqrt(global_batch / REFERENCE_BATCH)


def round_boundaries(steps: int, rounds: int) -> list[int]:
    """The step after which each of `rounds` rounds ends, evenly spread; the last is `steps`."""
    return [-(-steps * number // rounds) for number in range(1, rounds + 1)]
