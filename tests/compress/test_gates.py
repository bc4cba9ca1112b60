"""A model that loses a class is refused, and the refusal names the class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from compress.changes import Change, changes, judged
from compress.gates import GateRecipe, check
from models.answers import Alerts, Answers, shared
from models.errors import ConfigurationError, DataError, GateError
from models.resampling import interval
from models.runtime import load_classifier
from tests.compress.bundles import unseen

CLASSES = ("SNIa", "SNII", "KN")


def answers(n: int = 400, seed: int = 0) -> Answers:
    """Mostly right, calibrated answers about one object per alert; one in ten is a KN."""
    rng = np.random.default_rng(seed)
    label = rng.choice(3, n, p=(0.5, 0.4, 0.1))
    right = rng.random(n) < 0.9
    called = np.where(right, label, (label + 1) % 3)
    probabilities = np.full((n, 3), 0.05)
    probabilities[np.arange(n), called] = 0.9
    return Answers(
        classes=CLASSES,
        alerts=Alerts(np.arange(n), np.zeros(n)),
        row=np.arange(n),
        probabilities=probabilities,
        ood_score=np.zeros(n),
        label=label,
        object_id=np.arange(n),
        count=rng.integers(1, 40, n),
        survey=np.full(n, "ztf"),
        refused=0,
    )


def losing(teacher: Answers, name: str, share: float = 1.0, fewer_than: int = 10**6) -> Answers:
    """Answer SNIa for a share of the alerts of a class, those with few detections only."""
    row = CLASSES.index(name)
    chosen = (teacher.label == row) & (np.random.default_rng(1).random(len(teacher)) < share)
    chosen &= teacher.count < fewer_than
    probabilities = teacher.probabilities.copy()
    probabilities[chosen] = (0.9, 0.05, 0.05)
    return replace(teacher, probabilities=probabilities)


def shown(result: object) -> str:
    console = Console(width=240, record=True, file=None)
    with console.capture() as captured:
        console.print(result)
    return captured.get()


def test_the_same_answers_pass() -> None:
    result = check(answers(), answers(), GateRecipe(max_ece=0.1))
    assert result.passed
    assert result.changes.agreement == 1.0
    result.require()
    assert "passed" in shown(result.table())


def test_a_class_that_is_lost_is_named_with_what_it_lost() -> None:
    """The mean gates are wide open: only the class's own can see it."""
    teacher = answers()
    open_gates = GateRecipe(
        max_flat_log_loss_rise=9, max_flat_log_loss_rise_slice=9, max_ece=1, min_agreement=0
    )
    result = check(teacher, losing(teacher, "KN"), open_gates, ("teacher", "step 3"))
    assert set(result.failures) == {"KN"}
    assert result.changes.worst_class == "KN"
    with pytest.raises(GateError, match=r"step 3 loses more against teacher.*KN: recall falls by"):
        result.require()
    row = next(line for line in shown(result.table()).splitlines() if "recall of KN" in line)
    assert "recall falls by" in row
    before = float(np.mean(teacher.probabilities.argmax(1)[teacher.label == 2] == 2))
    assert f"{before:.4f}" in row
    assert "0.0000" in row


def test_a_loss_within_chance_fails_only_a_rare_class() -> None:
    """Two of about forty KN more are missed: more than two points, and within the interval."""
    teacher = answers()
    candidate = losing(teacher, "KN", share=0.06)
    drop = -(changes(teacher, candidate).recall("KN").difference["value"] or 0)
    assert 0.02 < drop < 0.12
    gates = GateRecipe(max_ece=0.1, max_flat_log_loss_rise=1, max_flat_log_loss_rise_slice=1)
    assert check(teacher, candidate, gates).passed
    strict = check(teacher, candidate, gates.model_copy(update={"rare": ["KN"]}))
    assert strict.failures["KN"].startswith("false negatives rise by")


def test_a_loss_early_in_the_life_of_objects_is_seen() -> None:
    teacher = answers(4000)
    candidate = losing(teacher, "SNII", share=0.5, fewer_than=4)
    gates = GateRecipe(
        max_recall_drop=1, max_flat_log_loss_rise=9, max_ece=1, min_agreement=0, slices=[1, 4, 10]
    )
    assert set(check(teacher, candidate, gates).failures) == {"1 to 3 detections"}


@pytest.mark.parametrize(
    ("gates", "failed"),
    [
        (GateRecipe(max_flat_log_loss_rise=0.01), "flat log-loss"),
        (GateRecipe(max_ece=0.001), "ECE"),
        (GateRecipe(min_agreement=0.99), "agreement"),
    ],
)
def test_each_overall_gate_can_fail(gates: GateRecipe, failed: str) -> None:
    teacher = answers()
    assert failed in check(teacher, losing(teacher, "SNII", 0.3), gates).failures


def test_a_model_that_answers_fewer_alerts_fails() -> None:
    teacher = answers()
    kept = np.arange(len(teacher)) >= 7
    candidate = replace(teacher.where(kept), refused=7)
    assert check(teacher, candidate, GateRecipe(max_ece=1)).failures == {
        "answers": "7 alerts fewer are answered"
    }


def test_what_cannot_be_compared() -> None:
    teacher = answers()
    with pytest.raises(ConfigurationError, match="gates compare models of the same classes"):
        check(teacher, replace(teacher, classes=("SNIa", "SNII", "TDE")), GateRecipe())
    with pytest.raises(ConfigurationError, match=r"\[gates\] rare: no class TDE; known: SNIa"):
        check(teacher, teacher, GateRecipe(rare=["TDE"]))
    with pytest.raises(ValueError, match="must rise"):
        GateRecipe(slices=[4, 4])
    nobody = teacher.where(np.zeros(len(teacher), bool))
    with pytest.raises(DataError, match="share no alert"):
        changes(teacher, nobody)


def test_classes_in_another_order_are_the_same_classes() -> None:
    teacher = answers()
    turned = replace(
        teacher,
        classes=CLASSES[::-1],
        probabilities=teacher.probabilities[:, ::-1],
        label=2 - teacher.label,
    )
    assert changes(teacher, turned).agreement == 1.0


def test_an_untrained_network_does_not_pass_for_a_trained_one(
    good: Path, bad: Path, data: Path
) -> None:
    """The whole way: two files, the objects that neither was trained on, the gate."""
    teacher, candidate = (judged(load_classifier(path), unseen(data)) for path in (good, bad))
    result = check(teacher, candidate, GateRecipe(max_ece=1), bootstrap=100)
    assert not result.passed
    assert {"SNIa", "SNIbc", "SNII"} & set(result.failures)
    assert check(teacher, teacher, GateRecipe(max_ece=1), bootstrap=20).passed


def test_alerts_of_one_curve_and_time_are_told_apart() -> None:
    """The last and the random alert of an object may be the same, with other observations."""
    twice = np.tile(np.arange(200), 2)
    both = replace(answers(), alerts=Alerts(twice, np.zeros(400)), object_id=twice)
    picky = both.where(np.arange(400) != 7)
    before, after = shared(both, picky)
    assert len(before) == len(after) == 399
    np.testing.assert_array_equal(before.row, after.row)
    assert changes(both, picky, bootstrap=20).alerts == 399


def test_a_figure_that_is_not_defined_passes_no_gate() -> None:
    nothing = interval(np.full(3, np.nan))
    assert Change(nothing, nothing, nothing).beyond(1.0)
