"""From the landing bucket to the raw tables."""
