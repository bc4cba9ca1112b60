"""The commands ``tinyt2 dead-letters ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from deploy.logs import configure_logs
from deploy.settings import Settings, load_settings
from deploy.times import parse_time
from models.errors import ConfigurationError

if TYPE_CHECKING:
    from deploy.deadletters.letters import Selection

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Messages that were refused: count them, look at one, send them again.",
)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings in TOML: cluster and topic.")
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only these reasons; may be repeated.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Only messages that came from these topics; may be repeated."),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only letters written since: 2026-11-23T04:30 (UTC), or 90m, 3d ago."
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only letters written before.")]


@app.command("list")
def list_letters(
    reason: Reasons = None,
    topic: Sources = None,
    since: Since = None,
    until: Until = None,
    each: Annotated[
        bool, typer.Option("--each", help="A line for each letter instead of counts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one object a line.")] = False,
    config: Config = None,
) -> None:
    """Count the dead letters by reason and topic.

    Example: `tinyt2 dead-letters list --reason schema_unavailable --since 12h`
    """
    from deploy.deadletters import view
    from deploy.deadletters.letters import letters, summarise
    from deploy.wiring import kafka_options
    from stream.sources.topic import TopicReader

    settings, selection = _begin(config, reason, topic, since, until)
    console = Console()
    with TopicReader(kafka_options(settings), settings.output.dead_letter_topic) as reader:
        found = letters(reader, selection)
        if as_json:
            for item in found if each else summarise(found):
                typer.echo(json.dumps(view.as_json(item)))
        elif each:
            view.show_each(console, found)
        else:
            view.show_groups(console, summarise(found), reader.topic)


@app.command()
def show(
    letter: Annotated[
        str, typer.Argument(metavar="PARTITION:OFFSET", help="As 'list --each' shows it.")
    ],
    n_bytes: Annotated[
        int, typer.Option("--bytes", min=0, help="Bytes that are shown in hexadecimal.")
    ] = 256,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the message's bytes to a file.")
    ] = None,
    config: Config = None,
) -> None:
    """Show one dead letter: why it was refused, what was expected, and its bytes.

    It is decoded again, so that it also says whether the message would be accepted now.

    Example: `tinyt2 dead-letters show 0:4711`
    """
    from deploy.deadletters import view
    from deploy.deadletters.letters import read_letter
    from deploy.wiring import kafka_options, open_decoder
    from stream.sources.topic import TopicReader

    settings, _ = _begin(config)
    with TopicReader(kafka_options(settings), settings.output.dead_letter_topic) as reader:
        found = read_letter(reader, letter)
    console = Console()
    view.show_letter(console, found, open_decoder(settings), n_bytes)
    if save is not None:
        _save(save, found.value or b"")
        console.print(f"written to {escape(str(save))}")


@app.command()
def replay(
    reason: Reasons = None,
    topic: Sources = None,
    since: Since = None,
    until: Until = None,
    to: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Send them here instead of back home.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent where.")
    ] = False,
    config: Config = None,
) -> None:
    """Send dead letters again, as they came: bytes, key and headers.

    A header tinyt2_replay_of names the letter: it is the same each time that a letter is
    sent, so that repeats can be told. The letters themselves stay where they are.

    Example: `tinyt2 dead-letters replay --reason schema_unavailable --dry-run`
    """
    from deploy.deadletters import resend
    from deploy.deadletters.letters import letters
    from deploy.wiring import kafka_options
    from stream.sources.topic import TopicReader

    settings, selection = _begin(config, reason, topic, since, until)
    options, output = kafka_options(settings), settings.output
    console = Console()
    plan = resend.Plan(to)
    with TopicReader(options, output.dead_letter_topic) as reader:
        plan.consider(letters(reader, selection))
        plan.check((output.topic, output.dead_letter_topic))
        for target, count in plan.targets.most_common():
            console.print(f"{count:,} letters to topic {escape(target)}", highlight=False)
        if plan.omitted:
            console.print(f"{plan.omitted:,} letters cannot be sent: their bytes were not kept")
        if not plan.targets:
            console.print("nothing to send")
        elif dry_run:
            console.print("nothing was sent: --dry-run")
        else:
            # What came to the topic meanwhile, such as one of these refused again, is left out.
            sent = resend.send(options, plan, letters(reader, selection))
            console.print(f"{sent:,} letters sent and acknowledged", highlight=False)


def _begin(
    config: Path | None,
    reason: list[str] | None = None,
    topic: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
) -> tuple[Settings, Selection]:
    """Return settings and selection; `ConfigurationError` for a reason that does not exist."""
    from deploy.deadletters.letters import Selection
    from stream.deadletter import REASONS

    settings = load_settings(config)
    configure_logs("warning", settings.log.format)
    for name in reason or ():
        if name not in REASONS:
            raise ConfigurationError(
                f"there is no reason {name!r}; there are {', '.join(REASONS)}", name
            )
    return settings, Selection(
        tuple(reason or ()),
        tuple(topic or ()),
        None if since is None else parse_time(since),
        None if until is None else parse_time(until),
    )


def _save(path: Path, value: bytes) -> None:
    try:
        path.write_bytes(value)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", path) from error
