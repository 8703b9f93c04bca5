"""From the costs of every unit at every frame to runs of units: exact, by dynamic programming."""

from __future__ import annotations

import numpy as np


def segment(costs: np.ndarray, change_penalty: float = 0.0, min_run: int = 1) -> np.ndarray:
    """The unit of each frame (T,) that minimises the sum of costs plus `change_penalty` for every change of unit.

    costs: (T, K), the cost of each unit at each frame. Every run of equal units is at least `min_run` frames long
    (a sequence too short for two runs becomes one). Without penalty and with `min_run` 1 this is the arg min of every
    frame. The penalised form is the duration-penalised segmentation of Kamper and van Niekerk 2021, "Towards
    unsupervised phone and word segmentation using self-supervised vector-quantized neural networks"; O(T K) for any
    `min_run`, since the cost of a run is a difference of running sums.
    """
    t_max, k_max = costs.shape
    if t_max < 2 * min_run:
        return np.full(t_max, costs.sum(0).argmin())
    if not change_penalty and min_run == 1:
        return costs.argmin(1)
    total = np.zeros((t_max + 1, k_max))
    np.cumsum(costs, 0, out=total[1:], dtype=np.float64)
    best = np.full(k_max, np.inf)  # of the first t frames, the last run being of unit k and long enough to end here
    end = np.full(t_max + 1, np.inf)  # the least of `best` at each t, and its unit
    end_unit = np.zeros(t_max + 1, np.int64)
    end[0] = -change_penalty  # the first run is no change
    begun = np.zeros((t_max + 1, k_max), bool)  # the run of (t, k) began min_run frames ago; else it is longer
    for t in range(min_run, t_max + 1):
        stay = best + costs[t - 1]
        start = total[t] - total[t - min_run] + (end[t - min_run] + change_penalty)
        begun[t] = start < stay
        best = np.minimum(stay, start)
        end_unit[t] = best.argmin()
        end[t] = best[end_unit[t]]
    frames = np.empty(t_max, np.int64)
    t, unit = t_max, end_unit[t_max]
    while t > 0:
        step, fresh = (min_run, True) if begun[t, unit] else (1, False)
        frames[t - step : t] = unit
        t -= step
        if fresh:
            unit = end_unit[t]
    return frames
