"""Pages about a ranked network, several of them, and a run."""
