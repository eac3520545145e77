"""What Prometheus sees. Label values come from the registry and from this code, never from a caller.

Names of other model servers are used where there is one: `model_infer_request_*`, `rest_server_*` and
`batch_request_queue` are MLServer's, `request_predict_seconds` is KServe's.
"""

import json
import os
from collections import Counter as Tally
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.models.model import Scores, ServedModel
from serving.models.signature import Rows

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Names the directory in which the worker processes share their figures; prometheus_client reads it too."""
_MAX_CLASSES = 50
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_VERSION = ["model", "version", "role"]


class Metrics:
    """All series of one process, in a registry of their own."""

    def __init__(self) -> None:
        """Declare the series."""
        self.registry = registry = CollectorRegistry()
        self._http = Counter(
            "rest_server_requests", "HTTP requests answered.", ["method", "path", "status_code"], registry=registry
        )
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._answered = Counter(
            "model_infer_request_success", "Prediction requests answered with predictions.", _VERSION, registry=registry
        )
        self._failed = Counter(
            "model_infer_request_failure",
            "Prediction requests that were not.",
            [*_VERSION, "status_code"],
            registry=registry,
        )
        self._duration = Histogram(
            "model_infer_request_duration",
            "Seconds from a prediction request's arrival to its answer.",
            _VERSION,
            buckets=_SECONDS,
            registry=registry,
        )
        self._predict = Histogram(
            "request_predict_seconds",
            "Processor time of the model alone, each batch.",
            _VERSION,
            buckets=_SECONDS,
            registry=registry,
        )
        self._joined = Histogram(
            "batch_request_queue", "Requests computed together.", _VERSION, buckets=_SIZES, registry=registry
        )
        self._rows = Counter("serving_rows", "Rows predicted.", _VERSION, registry=registry)
        self._predictions = Counter(
            "serving_predictions", "Rows predicted, by predicted class.", [*_VERSION, "class"], registry=registry
        )
        self._missing = Counter(
            "serving_input_missing",
            "Rows without a value for a feature; divide by serving_rows_total.",
            [*_VERSION, "feature"],
            registry=registry,
        )
        self._info = Gauge(
            "serving_model_info",
            "1 for each version that serves.",
            [*_VERSION, "run_id", "computed_by"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.load_failures = Counter(
            "serving_model_load_failures",
            "Versions that an alias pointed to and that could not be served, each try.",
            ["model", "version"],
            registry=registry,
        )
        self.not_served = Gauge(
            "serving_model_alias_not_served",
            "1 while an alias points to a version that could not be served.",
            ["model", "role"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.registry_up = Gauge(
            "serving_registry_up",
            "1 if MLflow answered the last time.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.registry_read = Gauge(
            "serving_registry_last_read_timestamp_seconds",
            "When MLflow last answered.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.journal_errors = Counter(
            "serving_journal_errors", "Requests refused because they could not be written down.", registry=registry
        )
        self.journal_sync = Histogram(
            "serving_journal_sync_seconds",
            "How long the disk took to make the journal durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.feedback = Counter("serving_feedback", "Outcomes received.", ["model"], registry=registry)

    def of(self, model: ServedModel) -> "VersionMetrics":
        """Return the series of a version, looked up once so that a request need not."""
        return VersionMetrics(self, model)

    def http(self, method: str, path: str, status: int) -> None:
        """Count an answer; `path` is a route's pattern, not what the caller wrote."""
        series = self._answers.get((method, path, status))
        if series is None:
            series = self._answers[method, path, status] = self._http.labels(method, path, str(status))
        series.inc()

    def switched(self, old: ServedModel | None, new: ServedModel | None) -> None:
        """Record that `new` serves in the place of `old`; either may be None."""
        if old is not None:
            self._info.labels(*_info_labels(old)).set(0)
            if MULTIPROCESS not in os.environ:
                self._info.remove(*_info_labels(old))
        if new is not None:
            self._info.labels(*_info_labels(new)).set(1)

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format, those of all worker processes together."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class VersionMetrics:
    """The series of one version."""

    def __init__(self, metrics: Metrics, model: ServedModel) -> None:
        """Look up the series of `model`."""
        self._labels = labels = (model.name, str(model.version), model.role)
        self._all = metrics
        self._answered = metrics._answered.labels(*labels)
        self._duration = metrics._duration.labels(*labels)
        self._predict = metrics._predict.labels(*labels)
        self._joined = metrics._joined.labels(*labels)
        self._rows = metrics._rows.labels(*labels)
        self._missing = [
            (field.name, metrics._missing.labels(*labels, field.name))
            for field in model.signature.fields
            if not field.required
        ]
        classes = model.classes if model.classes is not None and len(model.classes) <= _MAX_CLASSES else []
        self._classes = {value: metrics._predictions.labels(*labels, _class_label(value)) for value in classes}

    def answered(self) -> None:
        """Count a request that gets its predictions."""
        self._answered.inc()

    def lasted(self, seconds: float) -> None:
        """Observe how long a request took that got its predictions."""
        self._duration.observe(seconds)

    def failed(self, status: int, seconds: float) -> None:
        """Count a request that did not."""
        self._all._failed.labels(*self._labels, str(status)).inc()
        self._duration.observe(seconds)

    def batch(self, requests: int, _: int, seconds: float) -> None:
        """Count what was computed in one go."""
        self._joined.observe(requests)
        self._predict.observe(seconds)

    def predicted(self, rows: Rows, scores: Scores) -> None:
        """Count what was asked and what was answered."""
        self._rows.inc(rows.count)
        for name, series in self._missing:
            column = rows.columns[name]
            if None in column:
                series.inc(column.count(None))
        if self._classes and rows.count == 1:
            self._classes[scores.predictions[0]].inc()
        elif self._classes:
            for value, count in Tally(scores.predictions).items():
                self._classes[value].inc(count)


def _info_labels(model: ServedModel) -> tuple[str, str, str, str, str]:
    return model.name, str(model.version), model.role, model.run_id, model.engine.kind


def _class_label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
