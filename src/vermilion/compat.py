"""install_as_chromadb: our modules under Chroma's import paths."""


def install_as_chromadb() -> None:
    """Later."""
