"""The load generator: wrk, with the bodies in turn."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.case import Case, Measurement
from benchmarks.serving.target import Target

_SCRIPT = Path(__file__).with_name("wrk.lua")
_TIMEOUT_SECONDS = 10
_WARM_UP_SHARE = 0.25
_LEAST_WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Load:
    """Measures targets. `seconds` of each run count, after a warm-up of a quarter of that."""

    wrk: Path
    scratch: Path
    seconds: int
    repeat: int

    def measure(self, target: Target, case: Case) -> Measurement:
        """Run `case` on `target` as often as asked for; the median run."""
        bodies = self.scratch / "bodies.jsonl"
        bodies.write_bytes(b"".join(body + b"\n" for body in target.bodies(case.rows)))
        self._run(target, case, bodies, max(_LEAST_WARM_UP_SECONDS, round(self.seconds * _WARM_UP_SHARE)))
        return Measurement.median([self._run(target, case, bodies, self.seconds) for _ in range(self.repeat)])

    def _run(self, target: Target, case: Case, bodies: Path, seconds: int) -> Measurement:
        headers = {"Content-Type": "application/json", **target.headers}
        command = [str(self.wrk), "--threads", "1", "--connections", str(case.connections)]
        command += ["--duration", f"{seconds}s", "--timeout", f"{_TIMEOUT_SECONDS}s", "--script", str(_SCRIPT)]
        command += [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
        done = subprocess.run(
            [*command, target.url, "--", str(bodies)],
            capture_output=True,
            text=True,
            timeout=seconds + 2 * _TIMEOUT_SECONDS,
            check=True,
        )
        told = json.loads(done.stdout.splitlines()[-1])
        errors = told["refused"] + told["broken"] + told["not_2xx"]
        return Measurement(
            rate=(told["requests"] - told["not_2xx"]) / told["seconds"],
            p50=told["p50"],
            p90=told["p90"],
            p99=told["p99"],
            max=told["max"],
            errors=errors,
        )
