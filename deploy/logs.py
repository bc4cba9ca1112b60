"""Structured logs on standard error: for people (console) or for machines (json)."""

from __future__ import annotations

import logging
import sys

import structlog

from deploy.repeats import RepeatLimit
from deploy.secrets import scrubbed

__all__ = ["configure_logs"]


def configure_logs(level: str = "info", format: str = "console") -> None:
    """Send our log lines and those of the libraries through structlog, repeats limited."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(RepeatLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They log a line for every request, with its URL.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _without_secrets(
    logger: object, name: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Take out of a line what a library may have put into it."""
    return {key: value if key.startswith("_") else scrubbed(value) for key, value in entry.items()}
