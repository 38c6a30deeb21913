"""What changes from step to step: the learning rate, the weight of the pair loss. Pure."""

from __future__ import annotations

import math

WARM_UP_SHARE = 0.05
FINAL_SHARE = 0.01
PAIRS_FULL_SHARE = 0.3
REFERENCE_BATCH = 128
# The full rate would undo in the first steps what a champion's weights are taken over for.
WARM_SHARE = 0.3


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first twentieth of `steps`, then half a cosine down to 1 % of `peak`."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    place = (step - warm_up) / max(1, steps - warm_up)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * place)))


def pair_share(step: int, steps: int) -> float:
    """Weigh the pair loss: 0 at first, 1 after three tenths of `steps`.

    A precaution: the pair loss alone is known to collapse, so the proxies first get to part the categories.
    """
    return min(1.0, step / (PAIRS_FULL_SHARE * steps))


def scaled(peak: float, global_batch: int) -> float:
    """Give the rate for `global_batch` images a step, `peak` being meant for 128: it grows with the square root, as Adam's noise does.

    S. Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022 (https://arxiv.org/abs/2205.10287).
    """
    return peak * math.sqrt(global_batch / REFERENCE_BATCH)


def round_ends(steps: int, rounds: int) -> list[int]:
    """After which of `steps` steps each of `rounds` rounds ends; the last ends after the last."""
    return [-(-steps * number // rounds) for number in range(1, rounds + 1)]
