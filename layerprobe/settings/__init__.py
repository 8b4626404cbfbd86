"""What a user says, checked: an option is one field of a frozen record; flags, YAML and help are derived from it."""
