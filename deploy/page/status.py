"""The state of the service as JSON, and what of it is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from prometheus_client import Gauge

from deploy.page.watch import DriftSeen, Watch
from models.bundle import Bundle
from stream.clock import system_clock
from stream.history import SAMPLE_S, Lag, Sample, Tonight, lag_of

__all__ = ["Problem", "problems", "status"]

_SLOW_S: Final = 60.0
_FAR_BEHIND_S: Final = 600.0
_LOOK_BACK_S: Final = 600.0
_DEAD_LETTERS: Final = 0.01
"""Share of dead letters among the messages of the last ten minutes that is too much."""
_CHECKS: Final = {
    "model": "no model is loaded",
    "partitions": "no partitions are assigned: nothing is read",
    "output": "the output does not take records: the input is paused",
}


class Problem(NamedTuple):
    """Something that somebody should look at; ``bad`` now, ``warning`` soon."""

    severity: str
    what: str


def status(watch: Watch, live: bool, checks: Mapping[str, bool]) -> dict[str, Any]:
    """Return all that the page shows beside the alerts; times are Unix ms."""
    samples, lag = watch.history.samples(), lag_of(watch.metrics)
    held = int(_value(watch.metrics.held_partitions))
    found = problems(live, checks, lag, held, samples)
    severities = {problem.severity for problem in found}
    answer = {
        "tinyt2": version("tinyt2"),
        "now_ms": system_clock(),
        "state": next((s for s in ("bad", "warning") if s in severities), "well"),
        "problems": [problem._asdict() for problem in found],
        "checks": dict(checks),
        "lag": _fields(lag),
        "last_alert_ms": watch.history.last_alert_ms,
        "model": _model(watch.bundle()),
        "tonight": _fields(watch.history.tonight()),
        "history": _columns(samples),
        "n_kept": len(watch.recent),
    }
    drift = watch.drift()
    return answer if drift is None else {**answer, "drift": _drift(drift)}


def problems(
    live: bool,
    checks: Mapping[str, bool],
    lag: Lag,
    held_partitions: int,
    samples: Sequence[Sample],
) -> list[Problem]:
    """Return what is wrong, the worst first."""
    found = [] if live else [Problem("bad", "the service is stuck: restart it")]
    for name, holds in checks.items():
        if not holds:
            found.append(Problem("bad", _CHECKS.get(name, f"the check {name!r} fails")))
    found += _lag([lag, *(sample.lag for sample in samples[-2:])])
    if held_partitions:
        found.append(Problem("warning", f"{held_partitions} partitions wait for a schema"))
    found += _dead_letters(samples[-int(_LOOK_BACK_S / SAMPLE_S) :])
    return sorted(found, key=lambda problem: problem.severity)


def _lag(lags: Sequence[Lag]) -> list[Problem]:
    """Return what a lag that lasts means.

    The first message after a pause makes a lag of the pause's length until it is read.
    """
    least = min(lag.seconds or 0.0 for lag in lags) if len(lags) > 2 else 0.0
    if least <= _SLOW_S:
        return []
    what = f"answers are {least:,.0f} s behind the input"
    return [Problem("bad" if least > _FAR_BEHIND_S else "warning", what)]


def _dead_letters(samples: Sequence[Sample]) -> list[Problem]:
    refused: Counter[str] = sum((s.dead_letters for s in samples), Counter())
    messages = sum(s.messages for s in samples)
    if not refused or refused.total() <= _DEAD_LETTERS * messages:
        return []
    # A letter of an earlier sample's message may be in this one.
    share = min(1.0, refused.total() / max(messages, 1))
    (reason, _), *_others = refused.most_common(1)
    return [
        Problem(
            "warning",
            f"{share:.1%} of the messages of the last ten minutes are dead letters, "
            f"most of them {reason}",
        )
    ]


def _model(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": bundle.sha256,
        "notice": manifest.notice,
        "surveys": manifest.surveys,
        "classes": [c.name for c in manifest.classes],
    }


def _drift(seen: DriftSeen) -> dict[str, Any]:
    """Return the indices by what they are of, None where too little came to tell."""
    indices = {**seen.features, "classes": seen.classes}
    psi = {name: None if math.isnan(i) else round(i, 4) for name, i in indices.items()}
    return {"alerts": seen.alerts, "psi": psi}


def _columns(samples: list[Sample]) -> dict[str, Any]:
    """Return samples as one list for each figure, None where there is none."""
    return {
        "sample_s": SAMPLE_S,
        "end_ms": [s.end_ms for s in samples],
        "alerts_per_s": [round(s.alerts / s.seconds, 2) for s in samples],
        "messages_per_s": [round(s.messages / s.seconds, 2) for s in samples],
        "lag_s": [_rounded(s.lag.seconds) for s in samples],
        "lag_messages": [s.lag.messages for s in samples],
        "latency_median_s": [s.latency_s and _rounded(s.latency_s[0]) for s in samples],
        "latency_95_s": [s.latency_s and _rounded(s.latency_s[1]) for s in samples],
        "classified": [s.classified for s in samples],
        "not_classified": [s.not_classified.total() for s in samples],
        "dead_letters": [s.dead_letters.total() for s in samples],
    }


def _fields(counts: Lag | Tonight) -> dict[str, Any]:
    # Not dataclasses.asdict: it makes a Counter of pairs out of a Counter.
    return {field.name: getattr(counts, field.name) for field in fields(counts)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _value(gauge: Gauge) -> float:
    (family,) = gauge.collect()
    return family.samples[0].value
