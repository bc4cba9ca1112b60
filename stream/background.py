"""Work beside the delivery: whatever fails there, alerts go on, and somebody is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

__all__ = ["Background"]

log = structlog.get_logger()

_TASKS: Final = ("drift", "shadow", "page", "models")


class Background:
    """Logs and counts exceptions of what is not needed to answer alerts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failures = Counter(
            "tinyt2_background_failures",
            "Errors beside the delivery, in drift, shadow, page or models; no alert is lost.",
            ["task"],
            registry=registry,
        )
        for task in _TASKS:
            self._failures.labels(task)

    @contextmanager
    def __call__(self, task: str) -> Iterator[None]:
        """Let no exception out of a task."""
        try:
            yield
        # Whatever it is: it is a defect of that task, and would end a thread or the service.
        except Exception:
            self._failures.labels(task).inc()
            log.exception("a task in the background failed; alerts go on", task=task)
