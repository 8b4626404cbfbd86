"""The layers of a network measured, and the best of them chosen."""
