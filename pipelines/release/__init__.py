"""Guarded releases: how a version that passed the gate becomes the champion, or does not."""
