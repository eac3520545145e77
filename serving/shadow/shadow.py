"""The shadow process: what the champion and the canary were asked, the shadow answers too, for comparison only."""

import logging
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import ALIAS_SHADOW
from serving.errors import RequestError
from serving.http.wire import Caller
from serving.ids import PredictionIds
from serving.journal.format import Entry
from serving.journal.journal import Journal
from serving.metrics import Metrics
from serving.models.loader import Loader
from serving.models.model import PredictionFailed, Scores, ServedModel
from serving.models.signature import Rows
from serving.models.state import StateFile
from serving.plane.plane import Answer
from serving.shadow.tail import Tail

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_FIGURES_SECONDS = 2.0
_JOURNAL_BYTES = 1 << 30
_SYNC_SECONDS = 1.0
_NAMES = ("rows", "agreed", "failed_rows")


@dataclass(frozen=True, slots=True)
class _Origin:
    """Who asked, as the journal wants to know it."""

    request_id: str
    caller: Caller


class Shadow:
    """The shadows of one server, and where they read and write."""

    def __init__(self, models: list[ServedModel], tail: Tail, journal: Journal, figures: Path) -> None:
        """Predict with `models` what `tail` brings; write to `journal`, and counts to the file `figures`."""
        self._models = {model.name: model for model in models}
        self._tail = tail
        self._journal = journal
        self._figures = figures
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self._written_at = 0.0

    def step(self) -> None:
        """Predict what has come since the last step."""
        for entry in self._tail.entries():
            model = self._models.get(entry["model"])
            if model is not None and entry["role"] != ALIAS_SHADOW:
                self._predict(model, entry)
        if time.monotonic() - self._written_at > _FIGURES_SECONDS:
            self.write_figures()

    def _predict(self, model: ServedModel, entry: Entry) -> None:
        started = time.perf_counter()
        count = len(entry["predictions"])
        try:
            rows = rows_of(model, entry, count)
            scores = model.score(rows)
            answer = Answer(model, rows, scores, PredictionIds(entry["id"], count))
            origin = _Origin(entry["request_id"], Caller(entry["caller"], frozenset()))
            self._journal.predictions(answer, origin, (time.perf_counter() - started) * 1000)  # type: ignore[arg-type]
        except (RequestError, PredictionFailed) as exc:
            self._count(model, "failed_rows", count)
            log.warning("%s: shadow version %d failed: %s", model.name, model.version, exc)
            return
        self._count(model, "rows", count)
        self._count(model, "agreed", agreeing(scores, entry["predictions"]))

    def _count(self, model: ServedModel, what: str, rows: int) -> None:
        self._counts[model.name, model.version, what] += rows

    def write_figures(self) -> None:
        """Replace the file of counts, which the model server adds to its metrics."""
        self._written_at = time.monotonic()
        lines = []
        for what in _NAMES:
            lines.append(f"# TYPE serving_shadow_{what} counter")
            for model in self._models.values():
                labels = f'model="{model.name}",version="{model.version}"'
                lines.append(f"serving_shadow_{what}_total{{{labels}}} {self._counts[model.name, model.version, what]}")
        lines.append("# TYPE serving_shadow_left_out_bytes counter")
        lines.append(f"serving_shadow_left_out_bytes_total {self._tail.left_out_bytes}")
        scratch = self._figures.with_suffix(".new")
        scratch.write_text("\n".join([*lines, ""]))
        scratch.replace(self._figures)


def rows_of(model: ServedModel, entry: Entry, count: int) -> Rows:
    """Return the rows that an entry holds, as rows of `model`.

    Raises:
        RequestError: they do not fit its signature.
    """
    return model.signature.check_columns(entry["columns"], count, None)


def agreeing(scores: Scores, predictions: list[Any]) -> int:
    """Return how many rows have the same prediction; for numbers with a fraction, to six digits."""
    pairs = zip(scores.predictions, predictions, strict=True)
    return sum(
        abs(own - other) <= 1e-6 * max(abs(own), abs(other)) if isinstance(own, float) else own == other
        for own, other in pairs
    )


def run(data_dir: Path, *, allow_pickle: bool) -> int:
    """Load the shadows that the model server has loaded, and predict until a signal."""
    loader = Loader(_NoRegistry(), data_dir / "cache", allow_pickle=allow_pickle)  # type: ignore[arg-type]
    kept = StateFile(data_dir / "cache" / "state.json").read()
    models = [loader.restore(version, role) for role, version in kept if role == ALIAS_SHADOW]
    if not models:
        return 0
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    journal = Journal(data_dir / "journal", "relaxed", Metrics(), _SYNC_SECONDS, _JOURNAL_BYTES)
    journal.start()
    shadow = Shadow(models, Tail(data_dir / "journal"), journal, data_dir / "journal" / "shadow.prom")
    while not stopping.wait(_LOOK_SECONDS):
        shadow.step()
    shadow.write_figures()
    return 0


class _NoRegistry:
    """This process loads only what the model server has put into the cache."""
