"""Kubernetes quantities: `500m`, `2Gi`, `1e3`, read exactly.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))"
    r"(?P<suffix>[KMGTPE]i|[eE][+-]?\d{1,3}|[numkMGTPE]?)"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse(value: object) -> Fraction | None:
    """The exact number a quantity stands for; None where it is no quantity.

    >>> parse("1.5Gi") == 1.5 * 2**30, parse("100m"), parse("8GB")
    (True, Fraction(1, 10), None)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Fraction(match["number"].rstrip(".")), match["suffix"]
    if suffix in _BINARY:
        return number * Fraction(2 ** _BINARY[suffix])
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return number * (Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent))


def bytes_text(amount: Fraction | int) -> str:
    """Bytes as people write them.

    >>> bytes_text(3 * 2**29), bytes_text(2**30), bytes_text(5)
    ('1536Mi', '1Gi', '5')
    """
    for suffix, power in reversed(_BINARY.items()):
        if amount >= 2**power and amount % 2**power == 0:
            return f"{int(amount / 2**power)}{suffix}"
    return str(int(amount))


def text(resource: str, amount: Fraction | int) -> str:
    """An amount of a resource as people write it.

    >>> text("cpu", Fraction(39, 20)), text("memory", 2**20), text("nvidia.com/gpu", 1)
    ('1950m', '1Mi', '1')
    """
    if resource == "cpu":
        return str(int(amount)) if amount == int(amount) else f"{int(amount * 1000)}m"
    in_bytes = resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-")
    return bytes_text(amount) if in_bytes else f"{float(amount):g}"
