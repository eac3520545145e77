"""What a measured process says of itself. Standard library only: it must not weigh anything."""

from __future__ import annotations

import json
import resource
import time


def tell(seconds: float, drifted: int) -> None:
    """Print the figures as JSON: seconds of the work, those of the processor for the whole process with its imports,
    its peak memory in MB, columns that drifted."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"seconds": seconds, "cpu_seconds": time.process_time(), "peak_mb": peak, "drifted": drifted}
    print(json.dumps(figures))
