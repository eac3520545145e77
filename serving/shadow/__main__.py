"""`python -m serving.shadow DATA_DIR`: predict with the shadows what others have answered, as the journal tells it.

The model server starts and ends this process (`serving.shadow.keeper`).
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

from serving import logs
from serving.__main__ import prepare

_PR_SET_PDEATHSIG = 1
_NICE = 10


def main() -> int:
    """Run until the model server ends this process, or ends itself."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 0
    os.nice(_NICE)
    prepare(os.environ)
    logs.configure()
    from serving.shadow.shadow import run  # noqa: PLC0415 - imports what reads the environment

    return run(Path(sys.argv[1]), allow_pickle=os.environ.get("SERVING_ALLOW_PICKLE", "").lower() == "true")


if __name__ == "__main__":
    sys.exit(main())
