"""How two models differ: size, classes, manifest and, on labelled alerts, their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from compress.changes import BOOTSTRAP, OVERALL, Changes, changes, judged
from compress.sizes import Sizes, sizes
from models.bundle import Bundle
from models.datasets import LabelledCurves
from models.runtime import load_classifier

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models, a and b, side by side."""

    bundles: tuple[Bundle, Bundle]
    sizes: tuple[Sizes, Sizes]
    manifest: Mapping[str, tuple[Any, Any]]
    """What their manifests say differently, golden outputs apart."""
    changes: Changes | None
    """In the answers to the same alerts, from a to b, where there are labelled curves."""

    def result(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {
            "models": [
                {"path": str(bundle.path), "sha256": bundle.sha256, "sizes": asdict(size)}
                for bundle, size in zip(self.bundles, self.sizes, strict=True)
            ],
            "manifest": {name: list(values) for name, values in self.manifest.items()},
            "answers": None if self.changes is None else asdict(self.changes),
        }

    def tables(self) -> Iterator[Table]:
        """Yield tables to print."""
        yield self._sizes()
        if self.manifest:
            yield self._manifest()
        if self.changes is not None:
            yield _figures(self.changes)
            yield _classes(self.changes)

    def _sizes(self) -> Table:
        table = _table("Models", "", "a", "b", "b / a")
        table.add_row("name", *(escape(_name(bundle)) for bundle in self.bundles), "")
        table.add_row("sha256", *(bundle.sha256[:12] for bundle in self.bundles), "")
        a, b = (asdict(size) for size in self.sizes)
        for name, value in a.items():
            if name != "stored":
                ratio = f"{b[name] / value:.3f}" if value else "-"
                table.add_row(name.replace("_", " "), f"{value:,}", f"{b[name]:,}", ratio)
        for kind in sorted(a["stored"] | b["stored"]):
            each = (size["stored"].get(kind, 0) for size in (a, b))
            table.add_row(f"stored as {kind}", *(f"{n_bytes:,}" for n_bytes in each), "")
        return table

    def _manifest(self) -> Table:
        table = _table("Manifest, where it differs", "", "a", "b")
        for name, values in self.manifest.items():
            table.add_row(name, *(escape(str(value)) for value in values))
        return table


def compare(
    a: Path,
    b: Path,
    data: LabelledCurves | None = None,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Comparison:
    """Compare two bundles, with data also on the last and a random alert of every object.

    Models with different classes are compared among those that both have. `BundleError` when
    one is not sound, `DataError` when there is no alert of a class that both know.
    """
    first, second = load_classifier(a), load_classifier(b)
    found = None
    if data is not None:
        answers = judged(first, data, seed), judged(second, data, seed)
        found = changes(*answers, bootstrap, seed)
    return Comparison(
        (first.bundle, second.bundle),
        (sizes(a), sizes(b)),
        _differences(first.bundle, second.bundle),
        found,
    )


def _differences(a: Bundle, b: Bundle) -> dict[str, tuple[Any, Any]]:
    said = [bundle.manifest.model_dump(exclude={"golden"}) for bundle in (a, b)]
    for manifest in said:
        manifest["classes"] = [known["name"] for known in manifest["classes"]]
    return {
        name: (said[0][name], said[1][name]) for name in said[0] if said[0][name] != said[1][name]
    }


def _name(bundle: Bundle) -> str:
    return f"{bundle.manifest.name} {bundle.manifest.version}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _figures(found: Changes) -> Table:
    title = f"Answers to the same {found.alerts:,} alerts of {found.objects:,} objects"
    table = _table(title, "", "a", "b", "b - a (95 %)")
    for name, text in {**OVERALL, "accuracy": "accuracy", "macro_recall": "macro recall"}.items():
        table.add_row(text, *found.figures[name].texts())
    table.add_row("same most probable class", "", "", f"{found.agreement:.4f}")
    return table


def _classes(found: Changes) -> Table:
    columns = ("class", "alerts", "recall of a", "of b", "b - a (95 %)", "called so by a", "by b")
    table = _table("Classes", *columns)
    for name, (before, after) in found.called.items():
        recall = found.recall(name).texts() if name in found.counts else ("-", "-", "-")
        called = (f"{before:.3f}", f"{after:.3f}")
        table.add_row(name, f"{found.counts.get(name, 0):,}", *recall, *called)
    return table
