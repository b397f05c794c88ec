"""See embedding_functions.py."""
