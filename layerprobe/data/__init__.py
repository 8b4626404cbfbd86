"""Datasets by name, preprocessing, sampling and loading."""
