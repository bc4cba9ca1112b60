"""What a smaller model may lose against the one it comes from, class by class.

A mean hides what compression does: it is paid for by some classes (arXiv 1909.10364,
1911.05248), and a figure can stay while the answers change (arXiv 2310.01382). So every
class has a gate of its own, and so have alerts with few detections.

A change beyond a limit counts when its paired 95 % interval by object excludes zero. For
classes named as rare, for the calibration error and for the agreement the value counts as
it is: intervals of rare classes are so wide that they would excuse everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator
from rich.table import Table

from compress.changes import BOOTSTRAP, OVERALL, Change, Changes, changes
from models.answers import Answers
from models.errors import ConfigurationError, GateError
from models.recipe import Section

__all__ = ["GateRecipe", "GateResult", "check"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Nats = Annotated[float, Field(ge=0)]


class GateRecipe(Section):
    """What may be lost."""

    max_recall_drop: Fraction = 0.02
    """Fall of the recall of any class; 0.02 are two points."""
    rare: list[str] = Field(default=[])
    """Classes whose false negatives are held down whatever their interval."""
    max_fnr_rise: Fraction = 0.02
    """Rise of the false-negative rate (1 - recall) of these classes."""
    max_flat_log_loss_rise: Nats = 0.02
    """Rise of the log-loss that counts all classes alike, nats."""
    slices: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 4, 10, 30])
    """Alerts with so many detections up to the next number are a slice of their own."""
    max_flat_log_loss_rise_slice: Nats = 0.05
    """Rise of the flat log-loss of any slice, nats."""
    max_ece: Fraction = 0.05
    """Calibration error (ECE) afterwards."""
    min_agreement: Fraction = 0.9
    """Part of the alerts with the same most probable class as before."""

    @field_validator("slices")
    @classmethod
    def _rising(cls, slices: list[int]) -> list[int]:
        if any(b <= a for a, b in pairwise(slices)):
            raise ValueError("must rise from number to number")
        return slices


@dataclass(frozen=True, slots=True)
class GateResult:
    """What changed, and which gates that does not pass."""

    before: str
    after: str
    changes: Changes
    slices: Mapping[str, Change]
    """Flat log-loss by number of detections."""
    failures: Mapping[str, str]
    """What failed -> why: classes and slices by their names."""

    @property
    def passed(self) -> bool:
        """Tell whether every gate is passed."""
        return not self.failures

    def require(self) -> None:
        """Raise `GateError` that names every class and figure that failed."""
        if self.failures:
            said = "; ".join(f"{name}: {why}" for name, why in self.failures.items())
            raise GateError(
                f"{self.after} loses more against {self.before} than its gates allow: {said}. "
                "Nothing is promoted; weaken the step, or allow the loss in [gates]",
                dict(self.failures),
            )

    def table(self) -> Table:
        """Return one row per class, figure and slice; what failed says why."""
        found = self.changes
        table = Table(
            title=f"{self.after} against {self.before} "
            f"({found.objects:,} objects, {found.alerts:,} alerts)",
            title_justify="left",
        )
        for column in ("", "alerts", "before", "after", "change (95 %)", "gate"):
            table.add_column(column, overflow="fold")
        for name, count in found.counts.items():
            self._add(table, name, f"recall of {name}", f"{count:,}", found.recall(name))
        table.add_section()
        for key, title in OVERALL.items():
            self._add(table, title, title, "", found.figures[key])
        why = self.failures.get("agreement", "passed")
        table.add_row("agreement", "", "", f"{found.agreement:.3f}", "", _said(why))
        for name, change in self.slices.items():
            self._add(table, name, f"flat log-loss, {name}", "", change)
        return table

    def _add(self, table: Table, key: str, title: str, count: str, change: Change) -> None:
        why = self.failures.get(key, "passed")
        table.add_row(title, count, *change.texts(), _said(why))


def check(
    teacher: Answers,
    candidate: Answers,
    gates: GateRecipe,
    names: tuple[str, str] = ("the teacher", "the candidate"),
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> GateResult:
    """Hold a model's answers against those of the one that it shall replace.

    Both to the same alerts (`compress.changes.judged`). ``names`` are what messages call
    them. `ConfigurationError` when the classes differ or a rare class is none of them.
    """
    _check_classes(teacher.classes, candidate.classes, gates.rare)
    found = changes(teacher, candidate, bootstrap, seed)
    slices = {
        name: changes(a, b, bootstrap, seed).figures["flat_log_loss"]
        for name, a, b in _slices(teacher, candidate, gates.slices)
    }
    failures = _class_failures(found, gates) | _overall_failures(found, gates)
    for name, change in slices.items():
        if change.beyond(gates.max_flat_log_loss_rise_slice):
            failures[name] = _rise("flat log-loss", change, gates.max_flat_log_loss_rise_slice)
    if candidate.refused > teacher.refused:
        failures["answers"] = f"{candidate.refused - teacher.refused:,} alerts fewer are answered"
    return GateResult(*names, found, slices, failures)


def _check_classes(before: Sequence[str], after: Sequence[str], rare: Sequence[str]) -> None:
    if set(before) != set(after):
        raise ConfigurationError(
            f"gates compare models of the same classes, not {', '.join(before)} with "
            f"{', '.join(after)}",
            after,
        )
    if unknown := set(rare) - set(before):
        raise ConfigurationError(
            f"[gates] rare: no class {', '.join(sorted(unknown))}; known: {', '.join(before)}",
            unknown,
        )


def _class_failures(found: Changes, gates: GateRecipe) -> dict[str, str]:
    failures = {}
    for name in found.counts:
        recall = found.recall(name)
        drop = -(recall.difference["value"] or 0.0)
        if name in gates.rare and drop > gates.max_fnr_rise:
            failures[name] = f"false negatives rise by {drop:.3f}, allowed {gates.max_fnr_rise:g}"
        elif recall.below(gates.max_recall_drop):
            failures[name] = f"recall falls by {drop:.3f}, allowed {gates.max_recall_drop:g}"
    return failures


def _overall_failures(found: Changes, gates: GateRecipe) -> dict[str, str]:
    failures = {}
    flat, error = found.figures["flat_log_loss"], found.figures["ece"].after["value"]
    if flat.beyond(gates.max_flat_log_loss_rise):
        failures["flat log-loss"] = _rise("it", flat, gates.max_flat_log_loss_rise)
    # Written so that NaN fails too.
    if error is None or not error <= gates.max_ece:
        failures["ECE"] = f"it is {error}, allowed {gates.max_ece:g}"
    if not found.agreement >= gates.min_agreement:
        failures["agreement"] = f"it is {found.agreement:.3f}, wanted {gates.min_agreement:g}"
    return failures


def _rise(what: str, change: Change, limit: float) -> str:
    value = change.difference["value"]
    if value is None:
        return f"{what} is not defined, allowed {limit:g}"
    return f"{what} rises by {value:.4f}, allowed {limit:g}"


def _slices(
    teacher: Answers, candidate: Answers, edges: Sequence[int]
) -> list[tuple[str, Answers, Answers]]:
    """Return the slices that have alerts of both models, by name."""
    found = []
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        name = f"{low} detections or more" if high is None else f"{low} to {high - 1} detections"
        a, b = (
            some.known.where((some.known.count >= low) & (some.known.count < (high or 2**62)))
            for some in (teacher, candidate)
        )
        if len(a) and len(b):
            found.append((name, a, b))
    return found


def _said(why: str) -> str:
    return why if why == "passed" else f"[bold red]{why}[/]"
