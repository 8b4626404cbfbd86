"""Numbers and runs into tables and figures. This room sees records only, never how they were computed."""
