"""What happened: every step with its times, its starter and its outcome, and what each prediction goes back to."""
