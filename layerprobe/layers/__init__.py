"""The layers of a network: found, named, chosen and tapped."""
