"""See vermilion.server.app."""
