"""What people see in the terminal: summaries as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from models.bundle import Bundle, Card, load_bundle
from models.errors import TinyT2Error
from models.store import ModelStore
from stream.accounting import Accounting

__all__ = [
    "accounts_table",
    "classes_table",
    "model_notice",
    "show_model",
    "show_replay",
    "show_store",
]

_MIN_WIDTH: Final = 30
_MOMENTS: Final = ("last_detection", "random_detection")
_FIGURES: Final = {"log_loss": "log-loss", "macro_f1": "macro-F1", "ece": "ECE"}
_PARTS: Final = ("templates", "objects", "validation")


def accounts_table(accounting: Accounting, title: str) -> Table:
    """Return messages and alerts per outcome and reason."""
    table = Table(title=title, title_justify="left", min_width=_MIN_WIDTH)
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_row("messages", "", f"{accounting.messages_consumed:,}", style="bold")
    table.add_row("  decoded", "", f"{accounting.messages_decoded:,}")
    _add_reasons(table, "  dead_letter", accounting.dead_letters)
    table.add_row("alerts", "", f"{accounting.alerts_decoded:,}", style="bold")
    table.add_row("  classified", "", f"{accounting.alerts_classified:,}")
    _add_reasons(table, "  not_classified", accounting.not_classified)
    return table


def _add_reasons(table: Table, outcome: str, reasons: Mapping[str, int]) -> None:
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        table.add_row(outcome, reason, f"{count:,}")


def classes_table(accounting: Accounting) -> Table:
    """Return the classified alerts by most probable class."""
    table = Table(title="Most probable class", title_justify="left", min_width=_MIN_WIDTH)
    table.add_column("class")
    table.add_column("alerts", justify="right")
    for name, count in accounting.classes.most_common():
        table.add_row(name, f"{count:,}")
    return table


def model_notice(bundle: Bundle) -> str:
    """Return the model's identity and what its users must know."""
    manifest = bundle.manifest
    said = manifest.notice or f"Trained on {manifest.training_data}."
    name = escape(f"{manifest.name} {manifest.version}")
    return f"[bold]{name}[/] ({bundle.sha256[:12]}). {escape(said)}"


def show_replay(
    console: Console,
    accounting: Accounting,
    bundle: Bundle,
    seconds: float,
    before: Accounting | None = None,
) -> None:
    """Print the summary at the end of a replay; ``before`` is what earlier runs did of it."""
    console.print(accounts_table(accounting, "Replay"))
    console.print(classes_table(accounting))
    alerts = accounting.alerts_decoded
    if before is not None and before.messages_consumed:
        alerts -= before.alerts_decoded
        console.print(
            f"{before.messages_consumed:,} messages were done by earlier runs and skipped"
        )
    rate = alerts / max(seconds, 1e-9)
    console.print(f"{alerts:,} alerts in {seconds:.1f} s = {rate:,.0f} alerts/s")
    console.print(Panel(model_notice(bundle), title="Model", title_align="left"))


def show_model(console: Console, bundle: Bundle) -> None:
    """Print what a model is, how it was made and how good it is."""
    manifest, card = bundle.manifest, bundle.card
    table = Table(show_header=False, title=f"{manifest.name} {manifest.version}")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "file": str(bundle.path),
        "sha256": bundle.sha256,
        "bytes": f"{bundle.n_bytes:,}",
        "classes": ", ".join(f"{c.name} ({c.id})" for c in manifest.classes),
        "surveys": ", ".join(manifest.surveys),
        "features": manifest.feature_spec,
        "minimum observations": str(manifest.minimum_observations),
        "trained on": manifest.training_data,
        "made by": manifest.recipe,
        "architecture": json.dumps(card.architecture),
        "libraries": ", ".join(f"{k} {v}" for k, v in card.libraries.items()),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    console.print(_evaluation_table(card))
    console.print(
        Panel(escape(manifest.notice), title="Notice", title_align="left", style="yellow")
    )


def _evaluation_table(card: Card) -> Table:
    """Return the figures with their 95 % intervals, one row per part and alert."""
    table = Table(title="Evaluation (95 % intervals over objects)", title_justify="left")
    table.add_column("objects of")
    table.add_column("alert at")
    table.add_column("n", justify="right")
    for title in _FIGURES.values():
        table.add_column(title, overflow="fold")
    for part in _PARTS:
        for moment, entry in _moments(card.evaluation.get(part, {})).items():
            cells = [_interval(entry[name]) for name in _FIGURES]
            table.add_row(part, moment, str(entry["objects"]), *cells)
        table.add_section()
    meaning = card.evaluation.get("meaning", {})
    lines = [f"{name}: {text}" for name, text in meaning.items()]
    if artefacts := card.evaluation.get("artefacts"):
        lines.append(
            f"of {artefacts['alerts']:,} simulated artefacts and flat curves "
            f"{artefacts['not_classified']:.0%} are not classified"
        )
    table.caption = "\n".join(lines)
    return table


def _moments(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of each kind of alert by the name that is shown."""
    named = {name.replace("_", " "): part.get(name) for name in _MOMENTS}
    named |= {f"detection {n}": entry for n, entry in part.get("at_detection", {}).items()}
    return {name: entry for name, entry in named.items() if entry}


def _interval(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f} ({figure['low']:.3f}-{figure['high']:.3f})"


def show_store(console: Console, store: ModelStore) -> None:
    """Print the models of a store and which part each plays."""
    state = store.state()
    roles = {state.previous: "previous", state.candidate: "candidate", state.current: "current"}
    table = Table("sha256", "model", "is")
    for sha256 in store.models():
        try:
            manifest = load_bundle(store.path(sha256)).manifest
            name = f"{manifest.name} {manifest.version}"
        except TinyT2Error as error:
            name = f"damaged: {error}"
        table.add_row(sha256[:12], escape(name), roles.get(sha256, ""))
    console.print(table if table.row_count else "no models: push one")
