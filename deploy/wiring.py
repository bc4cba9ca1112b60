"""Put source, pipeline and sink together as the settings say."""

from __future__ import annotations

import gc
import platform
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
from confluent_kafka import libversion

from deploy.http import HttpServer
from deploy.page.routes import page_routes
from deploy.page.watch import Watch
from deploy.settings import Settings
from deploy.sources import LOOKED_UP_ASIDE_S, open_source, open_store
from models.bundle import DEPLOYED_MODEL, Bundle
from models.errors import BundleError, ConfigurationError
from models.runtime import OnnxClassifier, load_classifier
from models.store import ModelStore
from stream.accounting import Accounting
from stream.decode import Decoder
from stream.delivery import Delivery
from stream.drift import Drift
from stream.duplicates import DuplicateWindow
from stream.follower import ModelFollower
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.nested import NestedDecoder
from stream.output.encoders import encoder
from stream.output.outcomes import Outcomes
from stream.pipeline import Pipeline
from stream.service import BatchLimits, OpenDelivery, Service
from stream.shadow import Shadow
from stream.sinks.files import open_file_sink
from stream.sinks.kafka import KafkaSink
from stream.sinks.transactional import TransactionalKafkaSink
from stream.sources.archive import ArchiveSource
from stream.sources.kafka import KafkaSource
from stream.sources.parts import plan
from stream.sources.window import TimeWindow
from stream.transactions import ExactlyOnce

__all__ = [
    "batch_limits",
    "kafka_options",
    "open_classifier",
    "open_decoder",
    "open_pipeline",
    "replay",
    "serve",
    "with_model",
]

_BROKER_WAIT_S: Final = 30.0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


def open_classifier(settings: Settings) -> OnnxClassifier:
    """Load the model that the settings name, or the one that comes with tinyt2.

    From a store that is the current one; a store without one gets that model first.
    """
    path, threads = settings.model.path or DEPLOYED_MODEL, settings.model.threads
    if settings.model.store is None:
        return load_classifier(path, threads)
    store = ModelStore(settings.model.store)
    current = store.state().current
    if current is None:
        current = store.add(path)
        store.promote(current)
    try:
        return store.load(current, threads)
    except BundleError as error:
        raise BundleError(
            f"{error}; to start with the model before it: tinyt2 model rollback", error.value
        ) from error


def with_model(settings: Settings, path: Path) -> Settings:
    """Return the settings with a model file instead of what they name."""
    model = settings.model.model_copy(update={"path": path, "store": None})
    return settings.model_copy(update={"model": model})


def open_decoder(settings: Settings) -> Decoder:
    """Return a decoder for the surveys and schema sources of the settings."""
    return Decoder(open_store(settings), tuple(settings.input.surveys))


def serve(settings: Settings, window: TimeWindow | None = None) -> Accounting:
    """Classify the alerts of Kafka topics until SIGTERM or SIGINT; return the accounts.

    With a ``window``, only those of that time, in a group of its own; then it ends by itself.
    """
    if not settings.kafka.topics:
        raise ConfigurationError(
            "no input topic is named: set topics in [kafka] or TINYT2__KAFKA__TOPICS"
        )
    metrics = Metrics()
    classifier = open_classifier(settings)
    store = open_store(settings, LOOKED_UP_ASIDE_S)
    decoder = Decoder(store, tuple(settings.input.surveys))
    pipeline = Pipeline(decoder, classifier, metrics, duplicates=_duplicates(settings))
    options = _service_options(settings)
    source = open_source(settings, options, metrics, store, window)
    # A replay must not work under the name of production, or it would fence it.
    output_options = options if window is None else window.options(options)
    sink, delivery = _open_output(settings, output_options, source, metrics)
    accounting = Accounting()
    drift = Drift(metrics.models, classifier.bundle)
    watch = _open_watch(settings, accounting, metrics, pipeline, drift)
    shadow = Shadow(metrics)

    def observe(outcomes: Outcomes) -> None:
        with metrics.background("drift"):
            drift.observe(outcomes)
        with metrics.background("shadow"):
            shadow.offer(outcomes)
        if watch is not None:
            with metrics.background("page"):
                watch.record(outcomes)

    service = Service(
        source,
        pipeline,
        sink,
        metrics,
        batch_limits(settings),
        observe,
        delivery=delivery,
        accounting=accounting,
    )
    http = _open_http(settings, metrics, source, service, watch)
    _stop_on_signals(service)
    http.start()
    try:
        _log_start(settings, classifier, http.port)
        # What was loaded stays: to look through it for garbage would delay a batch by 0.1 s.
        gc.freeze()
        with _following(settings, pipeline, shadow, metrics):
            service.run()
    finally:
        http.stop()
    log.info("stopped", **accounting.as_log())
    return accounting


def _following(
    settings: Settings, pipeline: Pipeline, shadow: Shadow, metrics: Metrics
) -> AbstractContextManager[object]:
    """Return what follows the model store of the settings, if there is one."""
    if settings.model.store is None:
        return nullcontext()
    store = ModelStore(settings.model.store)
    return ModelFollower(store, pipeline, shadow, metrics, settings.model.threads)


def _open_watch(
    settings: Settings,
    accounting: Accounting,
    metrics: Metrics,
    pipeline: Pipeline,
    drift: Drift,
) -> Watch | None:
    if not settings.http.page:
        return None
    watch = Watch(
        accounting,
        metrics,
        lambda: pipeline.classifier.bundle,
        settings.http.page_alerts,
        lambda: drift.latest,
    )
    watch.start()
    return watch


def _open_http(
    settings: Settings,
    metrics: Metrics,
    source: KafkaSource,
    service: Service,
    watch: Watch | None,
) -> HttpServer:
    def ready() -> dict[str, bool]:
        # The model is loaded before anybody is answered.
        return {"model": True, "partitions": source.assigned, "output": service.delivering()}

    more = [] if watch is None else [page_routes(watch, service.live, ready)]
    http = settings.http
    return HttpServer(http.host, http.port, metrics.registry, service.live, ready, more)


def _duplicates(settings: Settings) -> DuplicateWindow | None:
    n = settings.input.duplicate_window
    return DuplicateWindow(n) if n else None


def _open_output(
    settings: Settings, options: KafkaOptions, source: KafkaSource, metrics: Metrics
) -> tuple[KafkaSink, OpenDelivery]:
    """Return what writes the outcomes, and how they and their offsets are kept together."""
    output, drain_s = settings.output, settings.kafka.drain_s
    target = (
        options,
        output.topic,
        output.dead_letter_topic,
        encoder(output.format),
        metrics,
    )
    if settings.kafka.delivery == "at-least-once":
        sink = KafkaSink(*target)
        sink.check(_BROKER_WAIT_S)
        return sink, partial(Delivery, drain_s=drain_s)
    transactional = TransactionalKafkaSink(*target)
    transactional.check(_BROKER_WAIT_S)
    return transactional, lambda _source, _sink, stopping: ExactlyOnce(
        source, transactional, stopping, drain_s
    )


def open_pipeline(settings: Settings, metrics: Metrics) -> Pipeline:
    """Return what decodes and classifies as the settings say."""
    return Pipeline(
        open_decoder(settings),
        open_classifier(settings),
        metrics,
        nested=NestedDecoder(settings.input.surveys),
    )


def replay(
    settings: Settings,
    paths: Iterable[Path],
    out: Path,
    on_start: Callable[[int], None],
    on_bytes: Callable[[int], None],
) -> tuple[Accounting, Bundle]:
    """Classify an archive into one output file; return the accounts and the model.

    ``on_start`` is given the size of the archive, ``on_bytes`` how much of it is done.
    """
    metrics = Metrics(topic="archive")
    pipeline = open_pipeline(settings, metrics)
    source = ArchiveSource.over(plan(paths, settings.input.surveys, out=out))
    on_start(source.n_bytes)
    service = Service(
        source,
        pipeline,
        open_file_sink(out),
        metrics,
        batch_limits(settings),
        on_batch=lambda outcomes: on_bytes(source.bytes_read),
    )
    return service.run(), pipeline.classifier.bundle


def kafka_options(settings: Settings) -> KafkaOptions:
    """Return how to reach the cluster of the settings; under no name that the service has."""
    kafka = settings.kafka
    return KafkaOptions(
        kafka.bootstrap_servers,
        kafka.group_id,
        client=kafka.client,
        consumer=kafka.consumer,
        producer=kafka.producer,
    )


def _service_options(settings: Settings) -> KafkaOptions:
    """Return the same under the names that the service keeps when it is restarted."""
    kafka = settings.kafka
    instance, transactional_id = kafka.group_instance_id, None
    if kafka.delivery == "exactly-once":
        transactional_id = kafka.transactional_id or f"{kafka.group_id}-{instance}"
    return replace(
        kafka_options(settings), group_instance_id=instance, transactional_id=transactional_id
    )


def batch_limits(settings: Settings) -> BatchLimits:
    """Return how messages are grouped."""
    return BatchLimits(settings.batch.max_messages, settings.batch.linger_ms / 1000)


def _stop_on_signals(service: Service) -> None:
    """Finish the batch in hand on the first signal; a second one ends the process at once."""

    def stop(signum: int, frame: FrameType | None) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        service.stop()

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)


def _log_start(settings: Settings, classifier: OnnxClassifier, port: int) -> None:
    bundle = classifier.bundle
    log.info(
        "started",
        tinyt2=version("tinyt2"),
        python=platform.python_version(),
        onnxruntime=version("onnxruntime"),
        numba=version("numba"),
        librdkafka=libversion()[0],
        provider=bundle.provider,
        model=f"{bundle.manifest.name} {bundle.manifest.version}",
        model_sha256=bundle.sha256,
        model_notice=bundle.manifest.notice,
        topics=settings.kafka.topics,
        output=settings.output.topic,
        dead_letters=settings.output.dead_letter_topic,
        settings=settings.redacted(),
        http=f"http://{settings.http.host}:{port}",
    )
