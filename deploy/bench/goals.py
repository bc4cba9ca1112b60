"""What the benchmarks are to reach, by the names of their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from deploy.bench.measure import Result

__all__ = ["GOALS", "Goal"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the ratio or the value of a result."""

    figure: Literal["ratio", "value"]
    bound: float
    at_least: bool = True

    def met(self, result: Result, slack: float = 1.0) -> bool:
        """Tell whether a result reaches the goal, or ``slack`` times less than it."""
        figure = result.ratio if self.figure == "ratio" else result.value
        if figure is None:
            return False
        return figure >= self.bound / slack if self.at_least else figure <= self.bound * slack

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.bound:,g}{'x' if self.figure == 'ratio' else ''}"


GOALS: Final[dict[str, Goal]] = {
    "decode_ztf": Goal("ratio", 25),
    "decode_lsst": Goal("ratio", 10),
    "features_inference_ztf": Goal("ratio", 300),
    "fink_module_spark": Goal("ratio", 100),
    "fink_nested_spark": Goal("ratio", 100),
    "fink_vs_ad_features": Goal("ratio", 1),
    "fink_vs_anomaly_detection": Goal("ratio", 1),
    "fink_vs_fast_transient_rate": Goal("ratio", 1),
    "fink_vs_snn": Goal("ratio", 1),
    "replay_per_cpu_s": Goal("value", 5000),
    "serve_cpu_vs_consume": Goal("ratio", 2.5, at_least=False),
    "latency_p99_s": Goal("value", 0.150, at_least=False),
    "page_record_percent": Goal("value", 1, at_least=False),
    "burst_s": Goal("value", 5, at_least=False),
    "startup_s": Goal("value", 3, at_least=False),
    "rss_mb": Goal("value", 400, at_least=False),
    "rss_growth_percent": Goal("value", 2, at_least=False),
}
