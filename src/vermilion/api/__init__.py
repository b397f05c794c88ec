"""See client.py and collection.py."""
