"""Whether scores tell which layers distil well."""
