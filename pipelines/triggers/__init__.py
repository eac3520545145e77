"""What starts a training, and what holds it back."""
