"""The machine that a command runs on: its devices, processes and memory."""
