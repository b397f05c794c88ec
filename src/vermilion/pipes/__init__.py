"""See docs/pipes.md."""
