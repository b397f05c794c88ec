"""See vermilion.wire.table."""
