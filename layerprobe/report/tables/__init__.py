"""Records as tables, for people and for machines."""
