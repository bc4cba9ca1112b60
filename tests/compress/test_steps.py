"""Each step does what it says: smaller tensors, real zeros, few values, answers of the teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.importance import importance
from compress.retraining import RetrainingRecipe, loss_of
from compress.slices import Kept, sliced
from compress.steps import Cluster, Context, Distill, PruneMagnitude, PruneStructured, Quantize
from compress.steps.prune_magnitude import sparsity_at
from compress.student import Student, load_student, matrices, shapes
from compress.transfer import ARTEFACT, TransferSet, make_transfer_set
from models.errors import ConfigurationError
from models.networks import batch_tensors, curve_scores, n_parameters
from models.recipe import AugmentationRecipe
from models.split import Parts
from models.t2 import T2, T2Config
from models.tiny import Tiny
from models.train import load_parts
from models.trainer import trained_before
from tests.compress.bundles import RECIPE, TOKENS
from tests.models.supernovae import random_curves

CLASSES = ("SNIa", "SNIbc", "SNII")
SHORT: dict[str, Any] = {"epochs": 1, "batch": 64, "lr": 1e-3, "averaging": 0.9}


@pytest.fixture(scope="module")
def teacher(good: Path) -> Tiny:
    network, _ = trained_before(good.parent, 3)
    assert isinstance(network, Tiny)
    return network


@pytest.fixture(scope="module")
def parts(data: Path) -> Parts:
    return load_parts(RECIPE.data, data)


@pytest.fixture(scope="module")
def transfer(parts: Parts, teacher: Tiny, tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    folder = tmp_path_factory.mktemp("transfer")
    noise, _ = random_curves([20] * 30, seed=1, bands=[9, 10, 11, 12])
    with_noise = Parts(parts.train, parts.validation, parts.tests, (), {"train": noise})
    how = AugmentationRecipe()
    return make_transfer_set(folder, with_noise, teacher, TOKENS, how, 2, 0, "a")


@pytest.fixture
def context(transfer: TransferSet) -> Context:
    return Context(transfer, CLASSES, rejects=False, seed=3)


def scores(network: Tiny | T2) -> Tensor:
    curves, trigger = random_curves([5, 20, 40], seed=9)
    return torch.from_numpy(curve_scores(network, TOKENS, curves, trigger)[0])


def silenced(teacher: Tiny, columns: dict[str, slice]) -> Tiny:
    """Return the teacher with some columns of matrices at zero."""
    network = Tiny(teacher.config)
    state = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    for name, some in columns.items():
        state[name][:, some] = 0
    network.load_state_dict(state)
    return network.eval()


def test_the_transfer_set_has_the_teachers_answers(transfer: TransferSet, teacher: Tiny) -> None:
    n = transfer.n_curves
    assert len(transfer.label) == 2 * n == len(transfer.curves)
    assert (transfer.label[:n] == transfer.label[n:]).all()
    assert np.sum(transfer.label == ARTEFACT) == 60
    seen = 0
    for lesson in transfer.epoch(0, 64, seed=1):
        seen += len(lesson.label)
        with torch.inference_mode():
            logits, ood = teacher.scores(*batch_tensors(lesson.inputs))
        torch.testing.assert_close(logits, lesson.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ood, lesson.ood_score, atol=1e-4, rtol=1e-4)
    assert seen == n


def test_epochs_take_turns_with_the_views(transfer: TransferSet) -> None:
    first, second, third = (
        sorted(int(r) for lesson in transfer.epoch(i, 50, 1) for r in lesson.ood_score * 1e6)
        for i in (0, 1, 2)
    )
    assert first == third != second


def test_the_transfer_set_is_made_once(
    transfer: TransferSet, parts: Parts, teacher: Tiny, tmp_path: Path
) -> None:
    told: list[float] = []

    def make(key: str) -> TransferSet:
        how = AugmentationRecipe()
        return make_transfer_set(tmp_path, parts, teacher, TOKENS, how, 1, 0, key, told.append)

    first = make("a").logits.copy()
    assert told == [1.0]
    assert np.array_equal(make("a").logits, first)
    assert told == [1.0]
    make("b")
    assert told == [1.0, 1.0]


def test_a_distilled_network_answers_like_the_teacher(context: Context, teacher: Tiny) -> None:
    step = Distill(width=8, latents=2, heads=2, epochs=6, batch=32, lr=1e-2, averaging=0.9)
    before = Distill(**{**step.model_dump(), "epochs": 0}).apply(Student(teacher), context)
    after = step.apply(Student(teacher), context)
    loss = loss_of(step, teacher, context.transfer, CLASSES)

    def mean(student: Student) -> float:
        lessons = context.transfer.epoch(0, 64, seed=1)
        with torch.inference_mode():
            return float(np.mean([loss(student.network, lesson).item() for lesson in lessons]))

    best = mean(Student(teacher))
    assert mean(after) - best < 0.5 * (mean(before) - best)


def test_steps_repeat_themselves(context: Context, teacher: Tiny) -> None:
    step = Distill(width=8, latents=2, heads=2, **SHORT)
    made = [step.apply(Student(teacher), context).fingerprint for _ in range(2)]
    assert made[0] == made[1]


def test_taking_nothing_out_changes_no_answer(teacher: Tiny) -> None:
    every = [range(b.heads) for b in teacher.config.blocks]
    units = [range(b.feed_forward) for b in teacher.config.blocks]
    same = sliced(teacher, Kept(range(2), every, units, range(1)))
    torch.testing.assert_close(scores(same), scores(teacher))


def test_a_head_and_units_that_say_nothing_can_go(teacher: Tiny) -> None:
    network = silenced(
        teacher,
        {
            "read.out.weight": slice(0, 4),
            "blocks.0.feed_forward.3.weight": slice(3, 5),
        },
    )
    units = [list(range(16)), [u for u in range(16) if u not in (3, 4)]]
    smaller = sliced(network, Kept(range(2), [[1], [0, 1]], units, [0]))
    torch.testing.assert_close(scores(smaller), scores(network))
    assert n_parameters(smaller) < n_parameters(network)
    assert shapes(smaller)["heads"] == [1, 2]
    assert shapes(smaller)["feed_forward"] == [16, 14]


def test_importance_finds_what_says_nothing(transfer: TransferSet, teacher: Tiny) -> None:
    network = silenced(
        teacher,
        {
            "read.out.weight": slice(0, 4),
            "blocks.0.feed_forward.3.weight": slice(7, 8),
            "head.weight": slice(0, 8),
        },
    )
    loss = loss_of(RetrainingRecipe(), network, transfer, CLASSES)
    found = importance(network, transfer, loss, 50, seed=0)
    assert found.heads[0][0] == 0 < found.heads[0][1]
    assert found.units[1][7] == 0
    assert found.units[1].argmin() == 7
    assert found.latents[0] == 0 < found.latents[1]


def test_importance_counts_all_classes_alike_once(transfer: TransferSet, teacher: Tiny) -> None:
    """The rows are balanced: the weights that balance all alerts must not count again."""
    loss = loss_of(RetrainingRecipe(), teacher, transfer, CLASSES)
    assert loss.weight.max() > 1.2 * loss.weight.min()
    rng, squares = np.random.default_rng([0, 6]), []
    alike = replace(loss, weight=torch.ones(3))
    for lesson in transfer.lessons(rng.permutation(transfer.balanced(50, 0)), 64, rng):
        weight = teacher.head.weight
        (gradient,) = torch.autograd.grad(alike(teacher, lesson), weight)
        squares.append((weight * gradient).sum(0).view(teacher.config.latents, -1).sum(1) ** 2)
    expected = torch.stack(squares).mean(0).detach()
    found = importance(teacher, transfer, loss, 50, seed=0)
    torch.testing.assert_close(found.latents, expected, rtol=1e-3, atol=1e-9)


def test_structured_pruning_makes_tensors_smaller(context: Context, teacher: Tiny) -> None:
    step = PruneStructured(
        latents=1, heads=1, feed_forward=6, rounds=2, between=1, per_class=40, **SHORT
    )
    network = step.apply(Student(teacher), context).network
    assert isinstance(network, Tiny)
    assert network.latents.shape == (1, 8)
    assert network.head.weight.shape == (3, 8)
    assert [b.heads for b in network.config.blocks] == [1, 1]
    assert network.read.query.weight.shape == network.read.out.weight.T.shape == (4, 8)
    assert sum(b.feed_forward for b in network.config.blocks) == 12
    assert n_parameters(network) < 0.75 * n_parameters(teacher)
    without = PruneStructured(latent_blocks=0, epochs=0, per_class=40).apply(
        Student(teacher), context
    )
    assert shapes(without.network)["blocks"] == 1


def test_structured_pruning_comes_first(context: Context, teacher: Tiny) -> None:
    step = PruneStructured(heads=1, epochs=0)
    with pytest.raises(ConfigurationError, match="before steps that round"):
        step.apply(Student(teacher, {"head.weight": "int8"}), context)
    with pytest.raises(ConfigurationError, match="9 cannot stay of 2"):
        PruneStructured(latents=9).apply(Student(teacher), context)
    with pytest.raises(ConfigurationError, match="of tiny only"):
        step.apply(Student(T2(T2Config(2, 3))), context)


def test_the_schedule_of_sparsity_is_cubic() -> None:
    assert sparsity_at(0, 0.8) == 0
    assert sparsity_at(0.375, 0.8) == pytest.approx(0.8 * (1 - 0.5**3))
    assert sparsity_at(0.75, 0.8) == sparsity_at(1.0, 0.8) == pytest.approx(0.8)


def test_magnitude_pruning_leaves_zeros_that_later_steps_keep(
    context: Context, teacher: Tiny
) -> None:
    step = PruneMagnitude(sparsity=0.6, every=1, fine_tune=1, **SHORT)
    student = step.apply(Student(teacher), context)
    rounded = Quantize(weights="uint4", **SHORT).apply(student, context)
    assert student.masks
    for made in (student, rounded):
        for name, weight in matrices(made.network):
            assert (weight == 0).float().mean() >= 0.59, name
            assert (weight[~student.masks[name]] == 0).all()
    for name, weight in matrices(rounded.network):
        assert len(torch.unique(weight)) <= 16, name


@pytest.mark.parametrize("weights", ["int8", "int4", "uint8", "uint4"])
def test_quantized_networks_answer_nearly_alike(
    context: Context, teacher: Tiny, weights: str
) -> None:
    step = Quantize.model_validate({"weights": weights, **SHORT, "lr": 1e-5})
    student = step.apply(Student(teacher), context)
    assert set(student.stored) == {n for n, _ in teacher.named_parameters()} - {"head.bias"}
    worst = {"int8": 0.1, "uint8": 1.5, "int4": 1.5, "uint4": 1.5}[weights]
    assert (scores(student.network) - scores(teacher)).abs().max() < worst
    assert student.precision == weights


def test_patterns_choose_the_precision_of_single_tensors(context: Context, teacher: Tiny) -> None:
    step = Quantize(tensors={"*.key.weight": "uint4", "latents": "float32"}, epochs=0)
    student = step.apply(Student(teacher), context)
    assert student.stored["read.key.weight"] == student.stored["blocks.0.key.weight"] == "uint4"
    assert student.stored["embed.0.weight"] == "int8"
    assert "latents" not in student.stored
    with pytest.raises(ConfigurationError, match=r"no parameter is called \*\.keys"):
        Quantize(tensors={"*.keys": "uint4"}).apply(Student(teacher), context)


def test_clustering_shares_a_few_values(context: Context, teacher: Tiny) -> None:
    step = Cluster(bits=4, tensors=["embed.*", "head.weight"], **SHORT)
    student = step.apply(Student(teacher), context)
    found = {name: len(torch.unique(w)) for name, w in matrices(student.network)}
    assert found["embed.0.weight"] == 16
    assert found["head.weight"] <= 48 // 8
    assert found["read.query.weight"] == 64
    with pytest.raises(ConfigurationError, match="no matrix is called"):
        Cluster(tensors=["nothing"]).apply(Student(teacher), context)


def test_rare_classes_must_exist(context: Context, teacher: Tiny) -> None:
    with pytest.raises(ConfigurationError, match="rare: no class Mira"):
        Quantize(rare={"Mira": 2.0}).apply(Student(teacher), context)


def test_a_student_is_read_as_it_was_written(
    context: Context, teacher: Tiny, tmp_path: Path
) -> None:
    student = Quantize(epochs=0).apply(Student(teacher), context)
    student.save(tmp_path, "key")
    read = load_student(tmp_path, "key")
    assert read is not None
    assert read.fingerprint == student.fingerprint
    assert load_student(tmp_path, "another") is None
    assert load_student(tmp_path / "nowhere", "key") is None


def test_a_teacher_of_other_classes_or_damaged_is_a_clear_error(good: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not have 5 classes"):
        trained_before(good.parent, 5)
    (tmp_path / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(ConfigurationError, match="damaged"):
        trained_before(tmp_path, 3)
