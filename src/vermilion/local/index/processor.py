"""What this machine's processor is good at."""

from __future__ import annotations

from functools import cache
from importlib import import_module


@cache
def scans_codes_fast() -> bool:
    """Whether it has the instructions with which turbovec scans codes fastest.

    With them it looks at one bit of each coordinate first, and a scan of 100,000 codes of 384
    dimensions takes 0.3 ms; without them 2.5 ms on two cores, 4 ms on one. They are AVX-512 with
    VBMI and VNNI (Intel's servers since Ice Lake, AMD since Zen 4), and the dot products of ARM.
    """
    try:
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):  # numpy keeps it to itself: it may go
        return True
    return any(features.get(name, False) for name in ("AVX512_ICL", "ASIMDDP"))
