"""A grid of runs as tables, and everything that its report consists of."""
