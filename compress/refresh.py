"""Renew the deployed model: new data, fine-tune, compress, hold against what is deployed, promote.

A run is named by what goes into it: recipe, gates, the weights it starts from, and every byte
of the data. ``WORK/<name>/`` holds its training, its compression and, when it is over,
``outcome.json``; a run that was killed is taken up there, and one that is over is not made
again, even when an operator has rolled its model back. Folders of earlier runs are deleted: the
models are in the store.

What new data may have been trained on by the deployed model counts in its favour.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter
from rich.console import Console

from compress.changes import BOOTSTRAP, judged
from compress.gates import GateRecipe, check
from compress.recipe import CompressionRecipe, TeacherRecipe
from models.errors import ConfigurationError, GateError
from models.export import replace
from models.recipe import Recipe, Section, TrainingRecipe
from models.runtime import Classifier, load_classifier
from models.split import Parts
from models.store import ModelStore
from models.train import load_parts, train_on
from models.trainer import CHECKPOINT_NAME

__all__ = ["Outcome", "RefreshRecipe", "RefreshSection", "refresh"]

_OUTCOME_NAME: Final = "outcome.json"
_NAME: Final = re.compile("[0-9a-f]{16}")


class RefreshSection(Section):
    """What is renewed. Paths are relative to the file that names them."""

    start: Path
    """Folder of the `tinyt2 train` whose weights are fine-tuned."""
    data: Path
    """Folder with the data of the recipe's [data]."""
    store: Path
    """Folder of models; its current one is the deployed model."""
    work: Path
    """Folder for runs, of this refresh only."""
    compress: Path | None = None
    """Recipe of a chain that the fine-tuned network is the teacher of."""
    train: Path | None = None
    """Recipe of training, instead: the fine-tuned network is deployed as it is."""
    bootstrap: Annotated[int, Field(ge=0)] = BOOTSTRAP
    """Resamples per interval, of gates and card."""


class RefreshRecipe(Section):
    """A refresh job."""

    refresh: RefreshSection
    training: TrainingRecipe = TrainingRecipe()
    """What of the recipe's [training] is otherwise when fine-tuning: fewer epochs, a lower rate."""
    gates: GateRecipe = GateRecipe()
    """Against the deployed model, on the recipe's held-out objects."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    status: Literal["promoted", "refused", "unchanged"]
    model: str | None
    """sha256 of the model that was made; None when a step of the chain was refused."""
    deployed: str
    """sha256 of the model that it was held against."""
    failures: dict[str, str]
    """Gates that were not passed, by class or figure."""


_OUTCOME: Final = TypeAdapter(Outcome)


def refresh(job: RefreshRecipe, recipe: Recipe, console: Console | None = None) -> Outcome | None:
    """Make a model of new data and promote it if it passes; None if there is nothing new.

    ``recipe`` is what ``job`` names, read: with steps (`CompressionRecipe`) or without. Raise
    `GateError` when the model is refused, `BusyError` while another process works on the store,
    `ConfigurationError` or `DataError` for what cannot be used; nothing is promoted then.
    """
    console = console or Console()
    told, store = job.refresh, ModelStore(job.refresh.store)
    recipe = _fine_tuned(recipe, job.training)
    with store.lock():
        folder = told.work / _fingerprint(job, recipe)
        if (folder / _OUTCOME_NAME).exists():
            before = _OUTCOME.validate_json((folder / _OUTCOME_NAME).read_bytes())
            console.print(f"nothing new: {_said(before)}", soft_wrap=True)
            return None
        deployed, _ = _deployed(store)
        try:
            outcome = _made(job, recipe, store, folder, console)
        except GateError as error:
            failures = error.value if isinstance(error.value, dict) else {"chain": str(error)}
            _finish(folder, Outcome("refused", None, deployed, failures))
            raise
        _finish(folder, outcome)
        console.print(_said(outcome), soft_wrap=True)
    if outcome.failures:
        raise GateError(_said(outcome), outcome.failures)
    return outcome


def _fine_tuned(recipe: Recipe, training: TrainingRecipe) -> Recipe:
    """Return the recipe with what the job says of the training."""
    changed = training.model_dump(exclude_unset=True)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=changed)})


def _fingerprint(job: RefreshRecipe, recipe: Recipe) -> str:
    """Return the name of a run: what goes into it, hashed."""
    digest = hashlib.sha256()
    for text in (recipe.model_dump_json(), job.gates.model_dump_json()):
        digest.update(text.encode() + b"\0")
    told = job.refresh
    files = [told.start / CHECKPOINT_NAME, *sorted(p for p in told.data.rglob("*") if p.is_file())]
    for path in files:
        name = path.relative_to(told.data) if path.is_relative_to(told.data) else path.name
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}", path) from error
        digest.update(str(name).encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def _deployed(store: ModelStore) -> tuple[str, Classifier]:
    current = store.state().current
    if current is None:
        raise ConfigurationError(
            "the store has no current model to hold a new one against: push and promote one "
            "(tinyt2 model push)",
            store,
        )
    return current, store.load(current)


def _made(
    job: RefreshRecipe, recipe: Recipe, store: ModelStore, folder: Path, console: Console
) -> Outcome:
    """Make the model, hold it against the deployed one and promote it if it passes."""
    parts = load_parts(recipe.data, job.refresh.data)
    _check_classes(_deployed(store)[1], parts)
    path = _model(job, recipe, parts, folder, console)
    candidate = load_classifier(path)
    made = candidate.bundle.sha256
    while True:
        # Only now, and again if it changes: somebody may promote or roll back meanwhile.
        sha256, before = _deployed(store)
        if made == sha256:
            return Outcome("unchanged", made, sha256, {})
        failures = _failures(before, candidate, parts, job, recipe, console)
        if failures:
            return Outcome("refused", made, sha256, failures)
        if store.promote(store.add(path), instead_of=sha256):
            return Outcome("promoted", made, sha256, {})


def _check_classes(deployed: Classifier, parts: Parts) -> None:
    known = {known.name for known in deployed.bundle.manifest.classes}
    if known != set(parts.train.classes):
        raise ConfigurationError(
            f"the data has the classes {', '.join(parts.train.classes)}, the deployed model "
            f"{', '.join(sorted(known))}: a refresh keeps the classes; train, evaluate and promote "
            "a model of other classes by hand",
            parts.train.classes,
        )


def _model(
    job: RefreshRecipe, recipe: Recipe, parts: Parts, folder: Path, console: Console
) -> Path:
    """Fine-tune and compress, from where an earlier run was stopped; return the model's path."""
    trained = folder / "train"
    plain = Recipe(**{name: getattr(recipe, name) for name in Recipe.model_fields})
    path = train_on(parts, plain, trained, True, console, job.refresh.bootstrap, job.refresh.start)
    if not isinstance(recipe, CompressionRecipe):
        return path
    from compress import chain

    taught = recipe.model_copy(update={"teacher": TeacherRecipe(run=trained)})
    return chain.run_on(parts, taught, folder / "compress", True, console, "tinyt2 refresh")


def _failures(
    deployed: Classifier,
    candidate: Classifier,
    parts: Parts,
    job: RefreshRecipe,
    recipe: Recipe,
    console: Console,
) -> dict[str, str]:
    """Return what is not passed on any held-out part, and print the tables."""
    seed = recipe.data.split_seed
    failures: dict[str, str] = {}
    for name, part in parts.tests.items():
        answers = judged(deployed, part, seed), judged(candidate, part, seed)
        called = ("the deployed model", f"the new model on {name}")
        result = check(*answers, job.gates, called, job.refresh.bootstrap, seed)
        console.print(result.table())
        failures |= {f"{key} ({name})": why for key, why in result.failures.items()}
    return failures


def _finish(folder: Path, outcome: Outcome) -> None:
    """Take note that a run is over, and delete the folders of earlier ones."""
    replace(folder / _OUTCOME_NAME, json.dumps(asdict(outcome), indent=2).encode() + b"\n")
    for other in folder.parent.iterdir():
        if other != folder and _NAME.fullmatch(other.name):
            shutil.rmtree(other)


def _said(outcome: Outcome) -> str:
    made = "the chain's model" if outcome.model is None else f"model {outcome.model[:12]}"
    if outcome.status == "promoted":
        return f"{made} is promoted in place of {outcome.deployed[:12]}"
    if outcome.status == "unchanged":
        return f"{made} is what is deployed already"
    why = "; ".join(f"{name}: {text}" for name, text in outcome.failures.items())
    return f"{made} is refused, {outcome.deployed[:12]} stays: {why}"
