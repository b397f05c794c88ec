"""See vermilion.remote.engine."""
