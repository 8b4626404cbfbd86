"""What chains the rooms: the demo."""
