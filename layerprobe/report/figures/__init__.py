"""One figure per file: a function from a record to a matplotlib ``Figure``."""
