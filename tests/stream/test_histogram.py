from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from stream.histogram import ArrayHistogram

BUCKETS = (0.1, 0.5, 0.9, 2.0)


def exposed(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    # The value of these is the time at which the histogram was made.
    return [line.rpartition(" ")[0] if "_created" in line else line for line in lines]


def both() -> list[tuple[CollectorRegistry, Histogram]]:
    made = []
    for kind in (Histogram, ArrayHistogram):
        registry = CollectorRegistry()
        histogram = kind("x_seconds", "X.", ["survey"], buckets=BUCKETS, registry=registry)
        made.append((registry, histogram))
    return made


@pytest.mark.parametrize(
    "amounts",
    [
        np.array([0.1, 0.5, 0.5, 0.25, 2.0, 64.0, -1.0, np.inf]),
        np.array([0.1, 0.9, 0.5], np.float32),
        np.array([1, 2, 3]),
        np.array([0.25, np.nan]),
        np.array([], np.float64),
    ],
    ids=["edges", "float32", "whole numbers", "NaN", "none"],
)
def test_an_array_counts_as_its_values_do(amounts: npt.NDArray[np.floating]) -> None:
    (one_registry, one_by_one), (all_registry, at_once) = both()
    assert isinstance(at_once, ArrayHistogram)
    for survey in ("ztf", "lsst"):
        for amount in amounts.tolist():
            one_by_one.labels(survey).observe(amount)
        one_by_one.labels(survey).observe(0.25)
        at_once.labels(survey).observe_all(amounts)
        at_once.labels(survey).observe(0.25)
    assert exposed(all_registry) == exposed(one_registry)
