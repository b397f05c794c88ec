"""The words of authentication: which header carries a token."""

from __future__ import annotations

from enum import Enum


class TokenTransportHeader(str, Enum):  # noqa: UP042  (Chroma's bases: format() gives the name)
    """The HTTP header in which a client sends its token."""

    AUTHORIZATION = "Authorization"
    X_CHROMA_TOKEN = "X-Chroma-Token"
