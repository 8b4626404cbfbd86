"""The training loop that serves every method."""
