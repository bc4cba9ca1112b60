"""Half of each goal, so that a loss of speed is seen and a noisy machine is not.

The benchmarks take both sides by turns and count processor time; a median over
few rounds is enough for a factor of two.
"""

from __future__ import annotations

import pytest

from deploy.bench.goals import GOALS, Goal
from tests.benches import RunBench

BESIDE_PEER = {
    "startup_s": Goal("ratio", 0.2),
    "page_record_percent": Goal("ratio", 30),
    "replay_per_cpu_s": Goal("ratio", 7),
}
"""Instead of a goal in seconds, which a slow machine misses: the ratio to the peer in the same run
where the goal is met, rounded."""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("decode", "decode_ztf"),
        ("decode", "decode_lsst"),
        ("inference", "features_inference_ztf"),
        ("replay", "replay_per_cpu_s"),
        ("kafka", "serve_cpu_vs_consume"),
        ("startup", "startup_s"),
        ("memory", "rss_mb"),
        ("page", "page_record_percent"),
    ],
)
def test_half_of_the_goal_is_reached(bench: RunBench, command: str, name: str) -> None:
    results = bench(command).results
    result = results["page_record" if name == "page_record_percent" else name]
    goal = BESIDE_PEER.get(name, GOALS[name])
    assert goal.met(result, slack=2), f"{result}; the goal is {goal}"
