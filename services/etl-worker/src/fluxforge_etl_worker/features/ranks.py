"""Ranks: how many values of a range exceed a threshold, for many ranges at once, exactly. Pure."""

import numpy as np

from fluxforge_etl_worker.columns import F64, I64


def count_above(values: F64, first: I64, stop: I64, threshold: F64) -> I64:
    """Return for each of m ranges how many of `values[first:stop]` are greater than its threshold.

    Cost: (n + m) log m, whatever the lengths of the ranges. Nothing is greater than a threshold that is null.
    Source: the wavelet matrix; Claude, Navarro, Ordonez (2015), Information Systems 47.
    """
    steps, step = np.unique(threshold, return_inverse=True)
    # A value is greater than steps[j] exactly when its height, the number of steps below it, is greater than j.
    height = np.searchsorted(steps, values, side="left")
    candidates = np.flatnonzero(height)
    height, least = height[candidates], step + 1
    left, right = np.searchsorted(candidates, first), np.searchsorted(candidates, stop)
    found = np.zeros(len(threshold), dtype=np.int64)
    for bit in reversed(range(len(steps).bit_length())):
        is_one = (height >> bit & 1).astype(np.bool_)
        ones_before = np.concatenate([[0], np.cumsum(is_one)])
        zeros = len(height) - ones_before[-1]
        left_ones, right_ones = ones_before[left], ones_before[right]
        wants_one = (least >> bit & 1).astype(np.bool_)
        found += np.where(wants_one, 0, right_ones - left_ones)
        left = np.where(wants_one, zeros + left_ones, left - left_ones)
        right = np.where(wants_one, zeros + right_ones, right - right_ones)
        height = np.concatenate([height[~is_one], height[is_one]])
    result: I64 = found + (right - left)
    return result
