"""Run light-curve modules of fink-science on request; a program for another interpreter.

fink-science ends at numpy 1.26, so it lives in an environment of its own, without tinyt2:
nothing of ours is imported here. ``python fink_worker.py FRAME.json`` reads alerts in the
columns of `deploy.bench.fink_frame`, tries every module once and writes one line of JSON,
``{"modules": {name: alerts per run}, "absent": {name: why}}``. Then, for each line with a name,
it runs that module once and answers ``done``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["MODULES", "main"]

Run = Callable[[], object]

_ALERTS = 500
_SAMPLES = 10_000
"""Draws of fast_transient_rate, as the Fink broker asks for."""
_MODEL = "snn_snia_vs_nonia"


def _processor(module: str) -> Any:
    return import_module(f"fink_science.ztf.{module}.processor")


def _ad_features(frame: pd.DataFrame) -> Run:
    extract = _processor("ad_features").extract_features_ad_raw
    names = ["cmagpsf", "cjd", "csigmapsf", "cfid", "objectId"]
    names += ["cdistnr", "cmagnr", "csigmagnr", "cisdiffpos"]
    rows = list(zip(*[frame[name] for name in names], strict=True))
    return lambda: [extract(*row) for row in rows]


def _anomaly_detection(frame: pd.DataFrame) -> Run:
    score = _processor("anomaly_detection").anomaly_score.func
    features = pd.Series(_ad_features(frame)())
    return lambda: score(features)


def _fast_transient_rate(frame: pd.DataFrame) -> Run:
    rate = _processor("fast_transient_rate").fast_transient_rate
    return lambda: rate(frame, _SAMPLES)


def _snn(frame: pd.DataFrame) -> Run:
    classify = _processor("snn").snn_ia.func
    # From the first exposure on, so that no alert falls to Fink's cut on its age.
    first = frame["cjd"].map(lambda days: days[-1] - 30.0)
    columns = [frame[name] for name in ("candid", "cjd", "cfid", "cmagpsf", "csigmapsf")]
    others = [frame["roid"] * 0, frame["cdsxmatch"], first, pd.Series([_MODEL] * len(frame))]
    return lambda: classify(*columns, *others)


MODULES: dict[str, Callable[[pd.DataFrame], Run]] = {
    "ad_features": _ad_features,
    "anomaly_detection": _anomaly_detection,
    "fast_transient_rate": _fast_transient_rate,
    "snn": _snn,
}


def _read(path: str) -> pd.DataFrame:
    """Return alerts with arrays in the cells, as Spark hands them over."""
    with open(path) as stream:  # noqa: PTH123 (the modules' own time is what counts here)
        frame = pd.DataFrame(json.load(stream))
    for name in frame.columns:
        if isinstance(frame[name][0], list):
            kind = {"cfid": np.int32, "cisdiffpos": object}.get(name, np.float64)
            frame[name] = pd.Series([np.array(cell, dtype=kind) for cell in frame[name]])
    return frame.iloc[np.arange(_ALERTS) % len(frame)].reset_index(drop=True)


def main(path: str) -> None:
    """Answer the requests of standard input."""
    warnings.simplefilter("ignore")
    logging.disable()
    # What modules print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    frame = _read(path)
    modules: dict[str, Run] = {}
    absent: dict[str, str] = {}
    for name, prepare in MODULES.items():
        try:
            modules[name] = prepare(frame)
            modules[name]()
        # Whatever keeps a module from running is what we want to say.
        except Exception as error:
            modules.pop(name, None)
            absent[name] = f"{type(error).__name__}: {error}"
    ready = {"modules": dict.fromkeys(modules, len(frame)), "absent": absent}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        modules[line.strip()]()
        print("done", file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
