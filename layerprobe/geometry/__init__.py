"""A layer's features into numbers: one Gram matrix, and pure functions of it."""
