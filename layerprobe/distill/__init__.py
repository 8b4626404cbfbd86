"""A choice of layers into a trained student."""
