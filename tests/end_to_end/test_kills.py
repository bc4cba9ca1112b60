"""Services that are killed while they work: nothing is lost, little or nothing is repeated."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.brokers import Broker, ExistingCluster
from tests.faults import suspended, transactional_broker, wait_until
from tests.streams import Follower, Stream, light_packets

BATCH = 64
"""What is in flight, and so what a kill repeats at most."""
EXACTLY_ONCE = {
    "KAFKA__DELIVERY": "exactly-once",
    "KAFKA__GROUP_INSTANCE_ID": "one",
    "BATCH__MAX_MESSAGES": "16",
}
_LIFE_S = 120.0


@pytest.fixture
def transactions(tmp_path: Path) -> Iterator[Broker]:
    """A cluster that has transactions."""
    if servers := os.environ.get("TINYT2_KAFKA"):
        yield ExistingCluster(servers)
        return
    with transactional_broker(tmp_path) as broker:
        yield broker


def _at_least_once(broker: Broker, folder: Path, messages: int, kills: int) -> None:
    """Kill one service after another, while the next one is starting or waiting."""
    stream, rng, packets = Stream(broker), np.random.default_rng(1), light_packets()
    settings = {"BATCH__MAX_MESSAGES": str(BATCH)}
    repeated = [0]
    with ExitStack() as stack:
        follower = stack.enter_context(Follower(stream))
        service = stack.enter_context(stream.serve(folder / "0.log", settings))
        for i in range(kills):
            following = stack.enter_context(stream.serve(folder / f"{i + 1}.log", settings))
            goal = follower.n_seen + int(rng.integers(1, messages // kills // 2))
            # However fast it works, there is something left to be killed for, every time.
            stream.produce(packets, messages // kills)
            follower.wait_for(goal, _LIFE_S)
            time.sleep(rng.uniform(0, 0.03))
            assert follower.n_seen < stream.n_sent, "nothing was left to be killed for"
            service.process.kill()
            service.process.wait()
            repeated.append(follower.n_repeated)
            print(f"kill {i + 1}: {follower.n_seen} of {messages} seen, {repeated[-1]} repeated")
            service = following
        follower.wait_for(messages, _LIFE_S)
        repeated.append(follower.n_repeated)
        service.stop()
    follower.check_complete()
    print(
        f"{kills} kills, {messages} messages: {follower.n_repeated} repeated, "
        f"{max(np.diff(repeated))} at most after one kill, 0 lost"
    )
    assert follower.n_repeated <= kills * BATCH
    assert stream.committed() == messages


def test_kills_lose_nothing_and_repeat_at_most_a_batch_each(broker: Broker, tmp_path: Path) -> None:
    _at_least_once(broker, tmp_path, 2000, kills=2)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_hundred_kills_lose_nothing_and_repeat_at_most_a_batch_each(
    broker: Broker, tmp_path: Path
) -> None:
    _at_least_once(broker, tmp_path, 50_000, kills=100)


def _exactly_once(broker: Broker, folder: Path, messages: int, kills: int) -> None:
    """Kill one service after another; each begins anew under the same name."""
    stream, rng, packets = Stream(broker), np.random.default_rng(2), light_packets()
    # noida names an aborted transaction in what is fetched after its end, too, and librdkafka then
    # drops all that the same producer sends: who has read on meanwhile sees nothing any more.
    with Follower(stream, "read_uncommitted") as witness:
        for i in range(kills):
            stream.produce(packets, messages // kills)
            with stream.serve(folder / f"{i}.log", EXACTLY_ONCE) as service:
                goal = witness.n_seen + int(rng.integers(1, messages // kills // 2))
                witness.wait_for(goal, _LIFE_S)
                time.sleep(rng.uniform(0, 0.03))
                assert witness.n_seen < stream.n_sent, "nothing was left to be killed for"
                service.process.kill()
                print(f"kill {i + 1}: {witness.n_seen} seen")
        with stream.serve(folder / "last.log", EXACTLY_ONCE) as service:
            witness.wait_for(messages, _LIFE_S)
            wait_until(lambda: stream.committed() == messages, "commit of all messages")
            service.stop()
    with Follower(stream) as follower:
        follower.wait_for(messages, 60)
        # What would be repeated comes after the end.
        time.sleep(1)
    follower.check_complete()
    print(
        f"{kills} kills, {messages} messages: {witness.n_repeated - follower.n_repeated} records "
        f"of aborted transactions, {follower.n_repeated} repeated, 0 lost"
    )
    assert follower.n_repeated == 0
    assert stream.committed() == messages


def test_kills_lose_and_repeat_nothing_exactly_once(transactions: Broker, tmp_path: Path) -> None:
    _exactly_once(transactions, tmp_path, 400, kills=2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_twenty_kills_lose_and_repeat_nothing_exactly_once(
    transactions: Broker, tmp_path: Path
) -> None:
    _exactly_once(transactions, tmp_path, 2000, kills=20)


def test_a_zombie_is_fenced_and_says_by_whom(transactions: Broker, tmp_path: Path) -> None:
    stream, packets = Stream(transactions), light_packets()
    stream.produce(packets, 100)
    with Follower(stream) as follower, stream.serve(tmp_path / "1.log", EXACTLY_ONCE) as zombie:
        follower.wait_for(100, 60)
        with suspended(zombie.process), stream.serve(tmp_path / "2.log", EXACTLY_ONCE) as service:
            service.wait_for_event("partitions assigned")
            stream.produce(packets, 100)
            follower.wait_for(200, 60)
            zombie.process.send_signal(signal.SIGCONT)
            # It finds out at its next transaction, or from the group.
            stream.produce(packets, 200)
            assert zombie.process.wait(60) == 1
            assert "takes over" in zombie.tail()
            assert "Traceback" not in zombie.tail()
            follower.wait_for(400, 60)
            service.stop()
    follower.check_complete()
    assert follower.n_repeated == 0
