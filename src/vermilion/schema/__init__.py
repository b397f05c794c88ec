"""See builder.py."""
