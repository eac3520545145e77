"""`python -m serving`: run the model server."""

import logging
import os
import sys

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
    for name, value in _PROCESS_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from serving.run import run  # noqa: PLC0415 - imports what reads the defaults above

    return run(os.environ)


if __name__ == "__main__":
    sys.exit(main())
