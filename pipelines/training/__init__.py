"""From a snapshot to a candidate that is logged."""
