"""The commands ``tinyt2 model ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from deploy.extras import require
from deploy.settings import load_settings
from models.errors import ConfigurationError

if TYPE_CHECKING:
    from models.store import ModelStore

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look at a model; change the one that a running service answers with.",
)

Store = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The model store; else [model] store of the settings."),
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings in TOML.")]
Sha256 = Annotated[
    str | None,
    typer.Argument(metavar="SHA256", help="As 'model list' shows it, or how it begins."),
]


@app.command()
def show(
    path: Annotated[
        Path | None, typer.Argument(help="model.onnx of a bundle; the bundled one by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print manifest and card as JSON.")
    ] = False,
) -> None:
    """Say what a model is: identity, classes, training data, figures, limits."""
    from deploy import display
    from models.bundle import DEPLOYED_MODEL
    from models.runtime import load_classifier

    bundle = load_classifier(path or DEPLOYED_MODEL).bundle
    console = Console()
    if as_json:
        console.print_json(
            data={
                "path": str(bundle.path),
                "sha256": bundle.sha256,
                "bytes": bundle.n_bytes,
                "manifest": bundle.manifest.model_dump(),
                "card": bundle.card.model_dump(),
            }
        )
    else:
        display.show_model(console, bundle)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="model.onnx of a bundle.")],
    b: Annotated[Path, typer.Argument(help="model.onnx of another.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with labelled light curves: compare answers too.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="How to read it, as in evaluate.")] = "parquet",
    part: Annotated[
        str, typer.Option(help="all, or what a was not trained on: objects, templates, ...")
    ] = "all",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples per interval.")] = 500,
    seed: Annotated[int, typer.Option(help="Of random alerts and resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two models: sizes, classes, manifests and, with --data, what they answer.

    Example: `tinyt2 model compare old/model.onnx new/model.onnx --data spcc/ --dataset spcc`
    """
    require("model compare", "train", "onnx", "torch")
    from compress.compare import compare as run
    from models.bundle import load_bundle
    from models.evaluation_run import load_part

    curves = None if data is None else load_part(load_bundle(a), dataset, data, part)[0]
    comparison = run(a, b, curves, bootstrap, seed)
    console = Console()
    if as_json:
        console.print_json(data=comparison.result())
    else:
        for table in comparison.tables():
            console.print(table)


@app.command()
def push(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="model.onnx with its card.json beside it.")
    ],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Only try it beside the current one (shadow model).")
    ] = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """Put a model into the store and make it the current one.

    It is checked first: identity and card, features, classes, golden outputs, a run at every
    length. A service that follows the store takes it within seconds, between two batches. What
    is not sound is refused with exit code 2, and nothing changes.

    Example: `tinyt2 model push runs/new/model.onnx --store /var/lib/tinyt2/models --shadow`
    """
    models = _open(store, config)
    sha256 = models.add(path)
    if shadow:
        models.propose(sha256)
    else:
        models.promote(sha256)
    typer.echo(f"{sha256} is {'the candidate' if shadow else 'current'}")


@app.command()
def promote(sha256: Sha256 = None, store: Store = None, config: Config = None) -> None:
    """Make the candidate the current model, or another one that is in the store.

    Example: `tinyt2 model promote --store /var/lib/tinyt2/models`
    """
    models = _open(store, config)
    chosen = models.state().candidate if sha256 is None else _whole(models, sha256)
    if chosen is None:
        raise ConfigurationError(
            "the store has no candidate: name a model that 'tinyt2 model list' shows, or push "
            "one with --shadow"
        )
    models.promote(chosen)
    typer.echo(f"{chosen} is current")


@app.command()
def withdraw(store: Store = None, config: Config = None) -> None:
    """Try the candidate no longer; it stays in the store.

    Example: `tinyt2 model withdraw --store /var/lib/tinyt2/models`
    """
    _open(store, config).withdraw()
    typer.echo("there is no candidate")


@app.command()
def rollback(store: Store = None, config: Config = None) -> None:
    """Make the model current again that was current before; the same again goes back.

    Example: `tinyt2 model rollback --store /var/lib/tinyt2/models`
    """
    typer.echo(f"{_open(store, config).rollback()} is current")


@app.command("list")
def list_models(store: Store = None, config: Config = None) -> None:
    """List the models of the store, the oldest first, and which is current.

    Example: `tinyt2 model list --store /var/lib/tinyt2/models`
    """
    from deploy import display

    display.show_store(Console(), _open(store, config))


def _open(store: Path | None, config: Path | None) -> ModelStore:
    from models.store import ModelStore

    folder = store or load_settings(config).model.store
    if folder is None:
        raise ConfigurationError(
            "no model store is named: use --store, or set store in [model] or TINYT2__MODEL__STORE"
        )
    return ModelStore(folder)


def _whole(models: ModelStore, begin: str) -> str:
    """Return the one sha256 that begins so."""
    found = [sha256 for sha256 in models.models() if sha256.startswith(begin)]
    if len(found) != 1:
        raise ConfigurationError(
            f"{len(found) or 'no'} models of the store begin with {begin!r}: see tinyt2 model list",
            begin,
        )
    return found[0]
