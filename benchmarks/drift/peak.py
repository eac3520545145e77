"""What a measured process says of itself. Standard library only: it must not weigh anything."""

from __future__ import annotations

import json
import resource


def tell(seconds: float, drifted: int) -> None:
    """Print the figures as JSON: seconds of the work, peak memory of the process in MB, columns that drifted."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "drifted": drifted}))
