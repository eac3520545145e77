"""`python -m serving`: run the model server."""

import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path

from serving import logs

# Numerical libraries and MLflow's client read these when they are imported.
# Predictions already run in a thread a core; a call that MLflow does not answer is repeated by the next poll.
_PROCESS_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def main() -> int:
    """Run until a signal; return the exit code."""
    prepare(os.environ)
    logs.configure()
    from serving.run import run  # noqa: PLC0415 - imports what reads the environment

    return run(os.environ)


def prepare(env: MutableMapping[str, str]) -> None:
    """Set what libraries read when they are imported, in this process and in the workers that it starts."""
    for name, value in _PROCESS_DEFAULTS.items():
        env.setdefault(name, value)
    if env.get("SERVING_WORKERS", "1") != "1" and env.get("SERVING_DATA_DIR"):
        figures = Path(env["SERVING_DATA_DIR"]) / "figures"
        shutil.rmtree(figures, ignore_errors=True)
        figures.mkdir(parents=True)
        env["PROMETHEUS_MULTIPROC_DIR"] = str(figures)


if __name__ == "__main__":
    sys.exit(main())
