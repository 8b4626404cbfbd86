"""Images through a network, and what is kept of its layers."""
