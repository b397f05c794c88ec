"""See paths.py."""
