"""What Prometheus sees. Label values come from the registry and from this code, never from a caller."""

import json
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.models.model import Outcome, ServedModel

UNKNOWN = "unknown"
"""Label of requests for a model that is not served."""
_MAX_CLASSES = 50
_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """All series of one server, in a registry of their own."""

    def __init__(self) -> None:
        """Declare the series."""
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "serving_requests", "Prediction requests answered.", ["model", "version", "status"], registry=registry
        )
        self._latency = Histogram(
            "serving_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            ["model", "version", "status"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._rows = Counter("serving_rows", "Rows predicted.", ["model", "version"], registry=registry)
        self._predictions = Counter(
            "serving_predictions",
            "Rows predicted, by predicted class.",
            ["model", "version", "class"],
            registry=registry,
        )
        self._missing = Counter(
            "serving_input_missing",
            "Rows without a value for a feature; divide by serving_rows_total.",
            ["model", "version", "feature"],
            registry=registry,
        )
        self._info = Gauge(
            "serving_model_info",
            "1 for each version that serves.",
            ["model", "version", "alias", "run_id"],
            registry=registry,
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
            ["model", "alias"],
            registry=registry,
        )
        self.registry_up = Gauge("serving_registry_up", "1 if MLflow answered the last time.", registry=registry)
        self.registry_read = Gauge(
            "serving_registry_last_read_timestamp_seconds", "When MLflow last answered.", registry=registry
        )
        self.store_up = Gauge("serving_store_up", "1 if the last write to PostgreSQL succeeded.", registry=registry)
        self.store_written = Counter("serving_store_rows_written", "Predictions committed.", registry=registry)
        self.store_lost = Counter(
            "serving_store_rows_lost", "Predictions answered but never stored.", registry=registry
        )
        self.store_queued = Gauge("serving_store_rows_queued", "Predictions waiting to be stored.", registry=registry)

    def answered(self, model: ServedModel | None, status: int, seconds: float) -> None:
        """Count a request; `model` is None if none was found for it."""
        labels = (model.name, str(model.version), str(status)) if model else (UNKNOWN, UNKNOWN, str(status))
        self._requests.labels(*labels).inc()
        self._latency.labels(*labels).observe(seconds)

    def predicted(self, model: ServedModel, outcome: Outcome) -> None:
        """Count what a request asked and what it got."""
        labels = (model.name, str(model.version))
        self._rows.labels(*labels).inc(outcome.rows.count)
        for field in model.signature.fields:
            if not field.required:
                self._missing.labels(*labels, field.name).inc(outcome.rows.columns[field.name].count(None))
        if model.estimator.classes is not None and len(model.estimator.classes) <= _MAX_CLASSES:
            for prediction in outcome.predictions:
                self._predictions.labels(*labels, _class_label(prediction)).inc()

    def switched(self, old: ServedModel | None, new: ServedModel | None) -> None:
        """Record that `new` serves in the place of `old`; either may be None."""
        if old is not None:
            self._info.remove(*_info_labels(old))
        if new is not None:
            self._info.labels(*_info_labels(new)).set(1)

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format."""
        return generate_latest(self.registry)


def _info_labels(model: ServedModel) -> tuple[str, str, str, str]:
    return model.name, str(model.version), model.alias, model.run_id


def _class_label(prediction: Any) -> str:
    return prediction if isinstance(prediction, str) else json.dumps(prediction)
