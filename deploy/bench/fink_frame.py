"""Real ZTF alerts in the columns that Fink gives to its science modules."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import fastavro
import pandas as pd

__all__ = ["FORCED", "HISTORY", "fink_frame", "nested_rows"]

HISTORY: Final = ("jd", "fid", "magpsf", "sigmapsf", "isdiffpos", "diffmaglim")
"""Fields of ``candidate`` and ``prv_candidates`` that tinyt2 can use."""

FORCED: Final = ("jd", "fid", "forcediffimflux", "forcediffimfluxunc", "magzpsci")
"""Fields of ``fp_hists`` that tinyt2 can use."""

_PEERS: Final = ("distnr", "magnr", "sigmagnr")
_CURRENT: Final = ("jd", "fid", "magpsf", "sigmapsf", "jdstarthist", "ssdistnr")


def fink_frame(messages: Sequence[bytes]) -> pd.DataFrame:
    """Return a row per alert of ZTF containers.

    ``cjd``, ``cfid``, ... hold the history and, last, the alert itself, as ``concat_col`` of
    fink-utils makes them; ``fp_jd``, ... the lists of ``fp_hists``; ``jd``, ... the alert alone.
    """
    rows: list[dict[str, Any]] = []
    for alert in _records(messages):
        candidate = alert["candidate"]
        exposures = [*(alert["prv_candidates"] or []), candidate]
        forced = alert.get("fp_hists") or []
        distance = candidate.get("ssdistnr")
        rows.append(
            {
                "objectId": alert["objectId"],
                "candid": alert["candid"],
                **{name: candidate.get(name) for name in _CURRENT},
                # As Fink's roid_catcher says of known objects; its guesses are not made here.
                "roid": 3 if distance is not None and 0 <= distance < 5 else 0,
                "cdsxmatch": "Unknown",
                **{f"c{name}": [e.get(name) for e in exposures] for name in (*HISTORY, *_PEERS)},
                **{f"fp_{name}": [e.get(name) for e in forced] for name in FORCED},
            }
        )
    return pd.DataFrame(rows)


def nested_rows(messages: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the same alerts with ``candidate`` and ``prv_candidates`` as they are nested."""
    return [
        {
            "objectId": alert["objectId"],
            "candid": alert["candid"],
            "candidate": {n: alert["candidate"].get(n) for n in (*HISTORY, "ssdistnr")},
            "prv_candidates": [
                {name: entry.get(name) for name in HISTORY}
                for entry in alert["prv_candidates"] or []
            ],
        }
        for alert in _records(messages)
    ]


def _records(messages: Sequence[bytes]) -> list[dict[str, Any]]:
    records = [record for m in messages for record in fastavro.reader(io.BytesIO(m))]
    return [record for record in records if isinstance(record, dict)]
