"""How the tables of the benchmarks write numbers."""

from typing import Any

Figure = dict[str, Any]


def number(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> [number(one) for one in (12345.6, 123.4, 1.234, 0.01234)]
    ['12,346', '123', '1.23', '0.0123']
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
