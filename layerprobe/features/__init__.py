"""Images through a model, layers into one file."""
