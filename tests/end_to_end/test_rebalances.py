"""Members that join, leave and are killed under load: nothing is lost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from deploy.serving import Serve
from tests.brokers import Broker
from tests.streams import Feeder, Follower, Stream, light_packets

BATCH = 64
RATE = 400
MOST_MEMBERS = 3
_WAIT_S = 300.0
STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]


class Members:
    """The services of one group."""

    def __init__(self, stream: Stream, folder: Path, strategy: str, stack: ExitStack) -> None:
        self._stream = stream
        self._folder = folder
        self._stack = stack
        self._settings = {
            "BATCH__MAX_MESSAGES": str(BATCH),
            "KAFKA__CONSUMER__PARTITION_ASSIGNMENT_STRATEGY": strategy,
        }
        self.alive: list[Serve] = []
        self.n_started = 0

    def join(self) -> None:
        log = self._folder / f"{self.n_started}.log"
        self.n_started += 1
        service = self._stack.enter_context(self._stream.serve(log, self._settings))
        service.wait_for_event("partitions assigned", _WAIT_S)
        self.alive.append(service)

    def leave(self) -> None:
        assert self.alive.pop(0).stop().messages_in_flight == 0

    def kill(self) -> None:
        service = self.alive.pop(0)
        service.process.kill()
        service.process.wait()


def _rebalance(broker: Broker, folder: Path, strategy: str, actions: list[str]) -> None:
    """Let members join, leave and die while messages come in."""
    stream = Stream(broker, partitions=4)
    with ExitStack() as stack:
        follower = stack.enter_context(Follower(stream))
        members = Members(stream, folder, strategy, stack)
        members.join()
        with Feeder(stream, light_packets(), RATE):
            for action in actions:
                getattr(members, action)()
                # The next one comes when this one is over: the group works again.
                follower.wait_for(stream.n_sent, _WAIT_S)
                print(f"{strategy}, {action}: {stream.n_sent} sent, {follower.n_repeated} repeated")
        follower.wait_for(stream.n_sent, _WAIT_S)
        while members.alive:
            members.leave()
    follower.check_complete()
    print(
        f"{strategy}: {actions} under load: {follower.n_repeated} of {stream.n_sent} repeated, "
        "0 lost"
    )
    # Where the group moves on before a batch is committed, its new owner repeats it.
    assert follower.n_repeated <= len(actions) * BATCH
    assert stream.committed() == stream.n_sent


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_member_joins_and_one_leaves_under_load(
    broker: Broker, tmp_path: Path, strategy: str
) -> None:
    _rebalance(broker, tmp_path, strategy, ["join", "leave"])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_twenty_rebalances_under_load_lose_nothing(
    broker: Broker, tmp_path: Path, strategy: str
) -> None:
    rng = np.random.default_rng(3)
    n_alive, actions = 1, []
    for _ in range(20):
        may = ["join"] * (n_alive < MOST_MEMBERS) + ["leave", "kill"] * (n_alive > 1)
        actions.append(str(rng.choice(may)))
        n_alive += 1 if actions[-1] == "join" else -1
    assert {"join", "leave", "kill"} <= set(actions)
    _rebalance(broker, tmp_path, strategy, actions)
