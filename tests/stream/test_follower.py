"""The service follows its model store; what is broken there changes nothing."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import structlog

from models.bundle import DEPLOYED_MODEL
from models.runtime import load_classifier
from models.store import ModelStore
from stream.alerts import MessageBatch
from stream.answers import answer
from stream.follower import ModelFollower
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.shadow import Shadow
from tests.records import rows
from tests.variants import variant

SOME = ["RRL", "SNIa", "AGN", "Mira"]


@pytest.fixture(scope="module")
def hotter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return variant(tmp_path_factory.mktemp("hotter"), "hotter", temperature=2)


@pytest.fixture(scope="module")
def some_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return variant(tmp_path_factory.mktemp("some"), "some", classes=SOME)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> ModelStore:
    store = ModelStore(folder)
    store.promote(store.add(DEPLOYED_MODEL))
    return store


@pytest.fixture
def shadow(metrics: Metrics) -> Shadow:
    return Shadow(metrics)


@pytest.fixture
def follower(
    store: ModelStore, pipeline: Pipeline, shadow: Shadow, metrics: Metrics
) -> ModelFollower:
    return ModelFollower(store, pipeline, shadow, metrics)


def value(metrics: Metrics, name: str, /, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None
    return found


def shown(metrics: Metrics) -> list[str]:
    """Return the sha256 of the model that the metrics name."""
    families = metrics.registry.collect()
    samples = [s for f in families for s in f.samples if s.name == "tinyt2_model_info"]
    return [s.labels["sha256"] for s in samples if s.value == 1]


def test_a_store_that_agrees_changes_nothing(
    follower: ModelFollower, pipeline: Pipeline, metrics: Metrics
) -> None:
    before = pipeline.classifier
    follower.look()
    assert pipeline.classifier is before
    assert value(metrics, "tinyt2_model_swaps_total") == 0
    assert value(metrics, "tinyt2_model_pending") == 0


def test_the_next_batch_is_answered_by_the_new_model(
    follower: ModelFollower,
    store: ModelStore,
    pipeline: Pipeline,
    metrics: Metrics,
    all_messages: MessageBatch,
    hotter: Path,
) -> None:
    old = pipeline.process(all_messages)
    sha256 = store.add(hotter)
    store.promote(sha256)
    follower.look()
    assert shown(metrics) == [sha256], "also while nothing comes"
    new = pipeline.process(all_messages)
    assert {row["model_sha256"] for row in rows(old)} == {old.bundle.sha256}
    assert {row["model_sha256"] for row in rows(new)} == {sha256} != {old.bundle.sha256}
    assert {row["model_version"] for row in rows(new)} == {"hotter"}
    expected = answer(load_classifier(hotter), new.alerts)
    np.testing.assert_array_equal(new.probabilities, expected.probabilities)
    assert np.abs(new.probabilities - old.probabilities).max() > 0.1
    assert value(metrics, "tinyt2_model_swaps_total") == 1
    store.rollback()
    follower.look()
    assert pipeline.process(all_messages).bundle.sha256 == old.bundle.sha256
    assert shown(metrics) == [old.bundle.sha256]


def test_other_classes_are_right_in_outputs_and_metrics(
    follower: ModelFollower,
    store: ModelStore,
    pipeline: Pipeline,
    metrics: Metrics,
    all_messages: MessageBatch,
    some_classes: Path,
) -> None:
    old = pipeline.process(all_messages)
    metrics.delivered(old, 0)
    store.promote(store.add(some_classes))
    follower.look()
    new = pipeline.process(all_messages)
    metrics.delivered(new, 0)
    answers = [row["probabilities"] for row in rows(new) if row["probabilities"]]
    assert all(list(answer) == SOME for answer in answers)
    for name in [c.name for c in old.bundle.manifest.classes]:
        predicted = [*old.predicted.to_pylist(), *new.predicted.to_pylist()]
        if name in predicted:
            found = value(metrics, "tinyt2_predicted_class_total", **{"class": name})
            assert found == predicted.count(name)


def copied_by_hand(folder: Path, model: Path, sha256: str, state: dict[str, str]) -> None:
    """Put a model into a store without asking whether it is sound."""
    shutil.copytree(model.parent, folder / sha256)
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("role", ["current", "candidate"])
def test_a_broken_model_is_refused_and_the_old_one_goes_on(
    follower: ModelFollower,
    folder: Path,
    pipeline: Pipeline,
    shadow: Shadow,
    metrics: Metrics,
    hotter: Path,
    role: str,
) -> None:
    follower.look()
    before = pipeline.classifier
    copied_by_hand(folder, hotter, "a" * 64, {"current": before.bundle.sha256, role: "a" * 64})
    with structlog.testing.capture_logs() as lines:
        follower.look()
        follower.look()
    assert pipeline.classifier is before
    assert shadow.candidate is None
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("model refused", "error")
    assert (line["role"], line["model_sha256"]) == (role, "a" * 64)
    assert "not the one that its folder names" in line["error"]
    assert line["goes_on_with"] == before.bundle.sha256
    assert value(metrics, "tinyt2_model_refusals_total", role=role) == 1
    assert value(metrics, "tinyt2_model_pending") == (role == "current")


def test_after_a_refusal_a_sound_model_is_taken(
    follower: ModelFollower,
    folder: Path,
    store: ModelStore,
    pipeline: Pipeline,
    metrics: Metrics,
    hotter: Path,
) -> None:
    copied_by_hand(folder, hotter, "a" * 64, {"current": "a" * 64})
    follower.look()
    store.promote(store.add(hotter))
    follower.look()
    assert pipeline.classifier.bundle.manifest.version == "hotter"
    assert value(metrics, "tinyt2_model_pending") == 0


@pytest.mark.parametrize("text", ["{", '{"current": "b"}', "{}"])
def test_a_state_that_says_nothing_changes_nothing(
    follower: ModelFollower, folder: Path, pipeline: Pipeline, metrics: Metrics, text: str
) -> None:
    before = pipeline.classifier
    (folder / "state.json").write_text(text)
    follower.look()
    assert pipeline.classifier is before
    assert value(metrics, "tinyt2_model_refusals_total", role="state") == (text != "{}")


def test_a_candidate_is_tried_promoted_and_withdrawn(
    follower: ModelFollower,
    store: ModelStore,
    pipeline: Pipeline,
    shadow: Shadow,
    hotter: Path,
    some_classes: Path,
) -> None:
    store.propose(store.add(hotter))
    follower.look()
    assert tried(shadow) == "hotter"
    assert pipeline.classifier.bundle.manifest.version != "hotter"
    store.promote(store.add(hotter))
    follower.look()
    assert tried(shadow) is None
    assert pipeline.classifier.bundle.manifest.version == "hotter"
    store.propose(store.add(some_classes))
    follower.look()
    assert tried(shadow) == "some"
    store.withdraw()
    follower.look()
    assert tried(shadow) is None


def tried(shadow: Shadow) -> str | None:
    """Return the version of the candidate."""
    return None if shadow.candidate is None else shadow.candidate.bundle.manifest.version


def test_a_thread_of_its_own_looks_at_the_store(
    follower: ModelFollower,
    store: ModelStore,
    pipeline: Pipeline,
    shadow: Shadow,
    outcomes: Outcomes,
    metrics: Metrics,
    hotter: Path,
) -> None:
    with follower:
        store.propose(store.add(hotter))
        wait_until(lambda: shadow.candidate is not None)
        shadow.offer(outcomes)
        sha256 = store.state().candidate
        assert sha256 is not None
        wait_until(lambda: value(metrics, "tinyt2_shadow_alerts_total", sha256=sha256) > 0)
        store.promote(sha256)
        wait_until(lambda: pipeline.classifier.bundle.sha256 == sha256)


class FailsOnce(ModelStore):
    """A store on a disk that is not there for a moment."""

    failed = False

    def stamp(self) -> tuple[int, int] | None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("stale file handle")
        return super().stamp()


def test_a_look_that_fails_is_told_and_done_again(
    folder: Path,
    store: ModelStore,
    pipeline: Pipeline,
    shadow: Shadow,
    metrics: Metrics,
    hotter: Path,
) -> None:
    store.promote(sha256 := store.add(hotter))
    with ModelFollower(FailsOnce(folder), pipeline, shadow, metrics):
        wait_until(lambda: pipeline.classifier.bundle.sha256 == sha256)
    assert value(metrics, "tinyt2_background_failures_total", task="models") == 1


def wait_until(found: object, seconds: float = 30) -> None:
    assert callable(found)
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)
