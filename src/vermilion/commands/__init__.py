"""See vermilion.cli."""
