"""Run a chain: a teacher, and steps that make it smaller, each held against it before the next.

``OUT/00-teacher`` is the teacher, ``OUT/NN-STEP`` what each step made: a complete bundle, and
``state.pt`` to go on from. Beside them ``transfer`` (`compress.transfer`), ``twins`` and
``variants`` (`compress.twins`) and ``report``. Only when every gate has passed does the last
bundle appear as ``OUT/model.onnx``.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from compress import report
from compress.changes import judged
from compress.gates import GateRecipe, check
from compress.recipe import CompressionRecipe
from compress.sizes import sizes
from compress.steps import AnyStep, Context, Distill
from compress.stored import exporter
from compress.student import Student, load_student, shapes
from compress.transfer import TransferSet, make_transfer_set
from models.answers import Answers
from models.bundle import CARD_NAME, load_bundle
from models.bundling import add_evaluation, write_bundle
from models.card import Making
from models.errors import BundleError, ConfigurationError, GateError
from models.export import MODEL_NAME, replace
from models.networks import features_of
from models.optimiser import torch_threads
from models.recipe import Recipe
from models.runtime import load_classifier
from models.split import Parts
from models.tiny import Tiny
from models.train import load_parts, train_on
from models.trainer import trained_before
from models.validation import ValidationAlerts

__all__ = ["Chain", "Made", "run", "run_on"]

_MADE_FROM: Final = "made_from"
"""Key of the card that says of which weights, parent and name a bundle is."""


def run(
    recipe: CompressionRecipe,
    data: Path,
    out: Path,
    resume: bool = False,
    console: Console | None = None,
    command: str = "",
) -> Path:
    """Compress on the data in a folder; return the path of the final bundle's model.

    With ``resume`` what an earlier run of the same recipe finished in ``out`` is taken up, to
    the same bytes. ``command`` is what the report names. Raise `GateError` when a step loses
    more than its gates allow or the result is too large: then nothing is promoted; `DataError`
    and `ConfigurationError` as `models.train.run`.
    """
    return run_on(load_parts(recipe.data, data), recipe, out, resume, console, command)


def run_on(
    parts: Parts,
    recipe: CompressionRecipe,
    out: Path,
    resume: bool = False,
    console: Console | None = None,
    command: str = "",
) -> Path:
    """Compress on parts that are loaded, and do all else that `run` does."""
    console = console or Console()
    with torch_threads(recipe.transfer.threads):
        chain = Chain(recipe, parts, out, resume, console)
        made = chain.steps()
        _check_budget(recipe, made[-1].path)
        from compress.twins import twins, variants

        others = [*(twins(chain, made) if recipe.report.twins else []), *variants(chain, made)]
        config = report.ReportConfig(
            bootstrap=recipe.report.bootstrap,
            seed=recipe.data.split_seed,
            rounds=recipe.report.rounds,
            command=command,
        )
        stages = [report.Stage(m.name, m.path, m.kind) for m in [*made, *others]]
        report.report(stages, chain.parts.tests, out / "report", config, console)
        console.print("evaluating the result, with bootstrap intervals ...")
        final = made[-1].path
        add_evaluation(final, chain.parts, recipe.data.split_seed, recipe.report.bootstrap)
    for name in (CARD_NAME, MODEL_NAME):
        replace(out / name, (final.parent / name).read_bytes())
    return out / MODEL_NAME


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle of the chain or beside it, and the student that it was made of."""

    name: str
    path: Path
    student: Student
    kind: Any = "stage"
    """As `compress.report.Stage.kind`."""


@dataclass
class Chain:
    """A recipe at work on loaded parts."""

    recipe: CompressionRecipe
    parts: Parts
    out: Path
    resume: bool
    console: Console
    teacher: Made = field(init=False)
    learnt: Recipe = field(init=False)
    """What the teacher was trained by, without section ``model``."""
    transfer: TransferSet = field(init=False)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        # What another run left is not this one's: it may not pass.
        (self.out / MODEL_NAME).unlink(missing_ok=True)
        self.teacher = self._teacher()
        self.transfer = self._transfer()

    @cached_property
    def _teacher_answers(self) -> Answers:
        return self._judged(self.teacher.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the K classes."""
        return self.parts.train.classes

    def steps(self) -> list[Made]:
        """Apply all steps, each held against the teacher; return teacher and stages."""
        made = [self.teacher]
        parent = self.teacher
        for number, step in enumerate(self.recipe.steps, 1):
            now = self.make(
                f"{number:02d}-{step.kind}",
                made[-1],
                [step],
                self.recipe.transfer.seed * 1000 + number,
                parent,
            )
            self._gate(now, step.gates or self.recipe.gates)
            made.append(now)
            if isinstance(step, Distill):
                parent = now
        return made

    def make(
        self,
        name: str,
        before: Made,
        steps: list[AnyStep],
        seed: int,
        parent: Made,
        kind: str = "stage",
    ) -> Made:
        """Apply steps to what was made before, and write state and bundle.

        The manifest names ``parent``, the network whose parts were taken out. What an earlier
        run finished from the same network by the same steps is taken up.
        """
        folder = self.out / name
        said = [step.model_dump_json(exclude={"gates"}) for step in steps]
        key = _hash(self._transfer_key, *said, str(seed), before.student.fingerprint)
        student = load_student(folder, key) if self.resume else None
        if student is None:
            student = before.student
            teacher = self.teacher.student.network
            rejects = isinstance(teacher, Tiny) and teacher.config.rejects
            with self._progress(name, sum(step.total_epochs for step in steps)) as progress:
                for step in steps:
                    context = Context(self.transfer, self.classes, rejects, seed, progress)
                    student = step.apply(student, context)
            student.save(folder, key)
        return Made(Path(name).name, self._bundle(name, student, parent), student, kind)

    def _bundle(self, name: str, student: Student, parent: Made) -> Path:
        """Write a student as a bundle, unless it is there, and return the path of its model."""
        lineage = {
            "sha256": load_bundle(parent.path).sha256,
            "shapes": shapes(parent.student.network),
        }
        made_from = _hash(student.fingerprint, repr(lineage), self.recipe.model_dump_json())
        path = self.out / name / MODEL_NAME
        if self.resume and _is_from(path, made_from):
            return path
        making = Making(
            model=self.recipe.model,
            parts=self.parts,
            features=self.transfer.features,
            validation=self._validation,
            command=f"tinyt2 compress (data set {self.recipe.data.dataset}, "
            f"seed {self.recipe.transfer.seed}), {name}",
            training={
                "recipe": self.recipe.model_dump(mode="json"),
                _MADE_FROM: made_from,
            },
            precision=student.precision,
            parent=lineage,
        )
        network = copy.deepcopy(student.network)  # its biases and temperature are calibrated
        return write_bundle(network, making, path.parent, exporter(student))

    def _teacher(self) -> Made:
        recipe, folder = self.recipe, self.recipe.teacher.run
        if folder is None:
            folder = self.out / "00-teacher"
            self.train(folder, Recipe(**{n: getattr(recipe, n) for n in Recipe.model_fields}))
        network, learnt = trained_before(folder, len(self.classes))
        if learnt.data != recipe.data:
            raise ConfigurationError(
                f"the teacher in {folder} was trained on other [data] than the recipe's: parts "
                "that are tested on could be among it",
                folder,
            )
        self._validation = ValidationAlerts(
            self.parts.validation, features_of(learnt.network), recipe.data.split_seed
        )
        self._features = features_of(learnt.network)
        self.learnt = learnt
        return Made("00-teacher", folder / MODEL_NAME, Student(network))

    def train(self, folder: Path, told: Recipe) -> None:
        """Train a network that is no student in a folder, unless it is there."""
        model = folder / MODEL_NAME
        if not self.resume:
            model.unlink(missing_ok=True)
        if model.exists():
            _, learnt = trained_before(folder, len(self.classes))
            if learnt.model_copy(update={"model": told.model}) == told:
                return
        train_on(self.parts, told, folder, self.resume, self.console, bootstrap=0)

    def _transfer(self) -> TransferSet:
        how = self.recipe.transfer
        self._transfer_key = _hash(
            self.recipe.data.model_dump_json(),
            self.recipe.augmentation.model_dump_json(),
            how.model_dump_json(),
            self.teacher.student.fingerprint,
            self.parts.train.curves.flux.tobytes(),
        )
        network = self.teacher.student.network
        if not self.resume:
            shutil.rmtree(self.out / "transfer", ignore_errors=True)
        with self._progress("transfer set", 1.0) as progress:
            return make_transfer_set(
                self.out / "transfer",
                self.parts,
                network,
                self._features,
                self.recipe.augmentation,
                how.views,
                how.seed,
                self._transfer_key,
                lambda part: progress("", part),
            )

    def _judged(self, path: Path) -> Answers:
        return judged(load_classifier(path), self.parts.validation, self.recipe.data.split_seed)

    def _gate(self, made: Made, gates: GateRecipe) -> None:
        names = (self.teacher.name, made.name)
        found = check(self._teacher_answers, self._judged(made.path), gates, names)
        if found.failures:
            self.console.print(found.table())
        found.require()
        size = sizes(made.path)
        self.console.print(
            f"{made.name}: {size.parameters:,} parameters, {size.file_bytes:,} bytes, flat "
            f"log-loss {found.changes.figures['flat_log_loss'].after['value']:.4f}, agreement "
            f"{found.changes.agreement:.3f}: gates passed"
        )

    @contextmanager
    def _progress(self, name: str, total: float) -> Iterator[Callable[..., None]]:
        columns = (
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(name, total=total, said="")
            yield lambda said, part=1.0: bar.update(task, advance=part, said=said)


def _is_from(path: Path, made_from: str) -> bool:
    """Tell whether a sound bundle is there that was made from the same."""
    try:
        return load_bundle(path).card.training.get(_MADE_FROM) == made_from
    except BundleError:
        return False


def _check_budget(recipe: CompressionRecipe, path: Path) -> None:
    most, found = recipe.budget.file_bytes, sizes(path).file_bytes
    if most is not None and found > most:
        raise GateError(
            f"graph and weights take {found:,} bytes, [budget] file_bytes allows {most:,}: "
            "prune or round more. Nothing is promoted",
            found,
        )


def _hash(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()
