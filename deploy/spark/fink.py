"""A science module for the Fink broker: probabilities in the column ``t2``.

It is called as Fink called the t2 module of fink-science, with the same columns in the
same order, and needs no TensorFlow::

    from deploy.spark.fink import t2

    args = ["candid", "cjd", "cfid", "cmagpsf", "csigmapsf"]
    args += [F.col("roid"), F.col("cdsxmatch"), F.col("candidate.jdstarthist")]
    args += [F.col("cisdiffpos"), F.col("cdiffmaglim")]  # better, but not necessary
    df = df.withColumn("t2", t2(*args))

The answers are those of ``tinyt2 replay`` for the same alerts when all columns are given,
those of ``fp_hists`` included where the alerts have it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import FloatType, MapType, StringType

from deploy.spark.light_curves import decode_histories
from deploy.spark.worker import WorkerOptions, open_pipeline
from stream.alerts import AlertBatch
from stream.sources.memory import message_batch

__all__ = ["NOT_CLASSIFIED", "probabilities", "science_module", "t2"]

NOT_CLASSIFIED: Final = -1.0
"""Probability of every class for an alert that is not classified."""


def probabilities(
    candid: pd.Series,
    jd: pd.Series,
    fid: pd.Series,
    magpsf: pd.Series,
    sigmapsf: pd.Series,
    roid: pd.Series = None,
    cdsxmatch: pd.Series = None,
    jdstarthist: pd.Series = None,
    isdiffpos: pd.Series = None,
    diffmaglim: pd.Series = None,
    forced_jd: pd.Series = None,
    forced_fid: pd.Series = None,
    forcediffimflux: pd.Series = None,
    forcediffimfluxunc: pd.Series = None,
    magzpsci: pd.Series = None,
    *,
    model: Path | None = None,
) -> pd.Series:
    """Return class name -> probability of each alert, -1 for every class if not classified.

    ``candid`` int64; ``jd`` to ``sigmapsf``, ``isdiffpos`` and ``diffmaglim``: an array per
    alert, the history first and the alert itself last, null or NaN ``magpsf`` for an upper
    limit. The last five come from ``fp_hists``. `deploy.spark.light_curves` says what is assumed
    without them. ``roid`` 3 is a solar-system object, which is not classified. ``cdsxmatch``
    and ``jdstarthist`` are taken because Fink passes them, and not used: which hosts or ages are
    of interest is for the caller to choose.

    ``model`` is a model.onnx on the worker's machine, None the one that comes with tinyt2.
    """
    exposures = {
        "jd": jd,
        "fid": fid,
        "magpsf": magpsf,
        "sigmapsf": sigmapsf,
        "isdiffpos": isdiffpos,
        "diffmaglim": diffmaglim,
    }
    forced = {
        "jd": forced_jd,
        "fid": forced_fid,
        "forcediffimflux": forcediffimflux,
        "forcediffimfluxunc": forcediffimfluxunc,
        "magzpsci": magzpsci,
    }
    alerts = decode_histories(
        candid,
        {name: column for name, column in exposures.items() if column is not None},
        roid,
        None if forced_jd is None else forced,
    )
    return pd.Series(_answers(alerts, len(candid), model), index=candid.index)


def _answers(alerts: AlertBatch, n: int, model: Path | None) -> list[dict[str, float]]:
    """Classify what every other alert is classified for, and return the answers of n rows."""
    outcomes = open_pipeline(WorkerOptions(model)).classify(message_batch([b""] * n), alerts)
    names = [c.name for c in outcomes.bundle.manifest.classes]
    table = np.full((n, len(names)), NOT_CLASSIFIED, np.float32)
    table[alerts.message[outcomes.classified]] = outcomes.probabilities
    return [dict(zip(names, row, strict=True)) for row in table.tolist()]


def science_module(model: Path | None = None) -> Callable[..., Any]:
    """Return the pandas UDF of a model: columns of `probabilities` in, ``map<string,float>`` out.

    ``model`` is a path on every executor; None: the model that comes with tinyt2. From Spark 4 on,
    columns can also be passed by name.
    """

    def answer(candid: pd.Series, *columns: pd.Series, **named: pd.Series) -> pd.Series:
        return probabilities(candid, *columns, **named, model=model)

    returns = MapType(StringType(), FloatType())
    # pyspark knows the types of such functions only with pandas-stubs installed.
    udf: Callable[..., Any] = pandas_udf(answer, returns)  # type: ignore[call-overload]
    return udf


t2 = science_module()
"""The science module with the model that comes with tinyt2."""
