"""How figures are written: as many digits as a reader can use."""


def digits(value: float) -> int:
    """Decimal places that a measured value of this size is shown with."""
    return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0


def measured(value: float) -> str:
    """A measured value.

    >>> measured(4.8123), measured(59.61), measured(1234.5), measured(7)
    ('4.81', '59.6', '1,234', '7')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits(value)}f}"


def chosen(value: float) -> str:
    """A value that somebody chose, as it was chosen.

    >>> chosen(20.0), chosen(0.3)
    ('20', '0.3')
    """
    return f"{value:,g}"


def interval(value: float, low: float | None, high: float | None) -> str:
    """A measured value with its interval, all with as many digits.

    >>> interval(4.8123, 4.49, 5.031), interval(4.8123, None, 5.0)
    ('4.81 (4.49–5.03)', '4.81')
    """
    if low is None or high is None:
        return measured(value)
    places = digits(value)
    return f"{value:,.{places}f} ({low:,.{places}f}–{high:,.{places}f})"
