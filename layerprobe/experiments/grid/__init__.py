"""Grids of distillation runs: one file says which, any number of workers share one folder."""
