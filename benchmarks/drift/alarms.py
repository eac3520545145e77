"""How often a look at data that has not drifted finds drift: `python -m benchmarks.drift.alarms N TRIALS`.

Each trial draws new rows of the same 20 distributions as the reference, and a further column whose mean is moved by
`SHIFT` standard deviations: that one should be found. The last line is JSON: by method the share of trials with a false
alarm (of any column), and with the moved column found.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

from benchmarks.drift.data import KINDS, SHIFTED, draw
from benchmarks.drift.files import learn
from pipelines.monitoring import drift, sketch
from pipelines.monitoring.baseline import Column
from pipelines.project import Drift, FeatureType

REFERENCE_ROWS = 20_000
SHIFT = 0.5
ALL: dict[str, FeatureType] = KINDS | {SHIFTED: "number"}
LEAST = 1e-9
RULES = {
    "platform": Drift(),
    "platform, thresholds of chance alone": Drift.model_validate(
        {
            "number": {"method": "psi", "threshold": LEAST},
            "category": {"method": "jensenshannon", "threshold": LEAST},
        }
    ),
}


def ours(columns: dict[str, Column], now: pd.DataFrame, rules: Drift) -> set[str]:
    """The columns that the platform calls drifted."""
    window = sketch.fold({name: column.bins for name, column in columns.items()}, sketch.arrow(now, ALL))
    return set(drift.compare(columns, window, rules).drifted)


def evidently(before: pd.DataFrame, now: pd.DataFrame) -> set[str]:
    """The columns that Evidently calls drifted, with its defaults: the test depends on the rows."""
    found = Report([DataDriftPreset()]).run(now, before).dict()["metrics"]
    drifted = set()
    for item in found:
        settings = item["config"]
        if not settings["type"].endswith(":ValueDrift"):
            continue
        of_p_value = "p_value" in settings["method"]
        value, threshold = float(item["value"]), float(settings["threshold"])
        if value < threshold if of_p_value else value >= threshold:
            drifted.add(settings["column"])
    return drifted


def main() -> None:
    """Run the trials with N rows each; Evidently, which takes seconds, sees every tenth of them."""
    rows, trials = int(sys.argv[1]), int(sys.argv[2])
    before = draw(REFERENCE_ROWS, 0, shift=0)
    columns = learn(before, ALL)
    looks, alarms, found = Counter[str](), Counter[str](), Counter[str]()
    for trial in range(trials):
        now = draw(rows, trial + 1, shift=SHIFT)
        called = {name: ours(columns, now, rules) for name, rules in RULES.items()}
        if trial % 10 == 0:
            called["Evidently, its defaults"] = evidently(before, now)
        for name, drifted in called.items():
            looks[name] += 1
            alarms[name] += bool(drifted - {SHIFTED})
            found[name] += SHIFTED in drifted
    shares = {name: {"alarms": alarms[name] / count, "found": found[name] / count} for name, count in looks.items()}
    print(json.dumps({"rows": rows, "looks": looks, "shares": shares}))


if __name__ == "__main__":
    main()
