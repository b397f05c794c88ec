"""See `chroma_dir.open_chroma`, `moving.migrate` and `chroma_writer.write_chroma`."""
