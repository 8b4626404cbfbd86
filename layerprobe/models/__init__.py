"""Models by name, their weights, and their layers."""
