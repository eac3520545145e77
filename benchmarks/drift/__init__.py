"""Drift of many predictions, and false alarms: the platform's sketches beside Evidently."""
