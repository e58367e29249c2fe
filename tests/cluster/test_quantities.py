"""Quantities are read exactly, as Kubernetes reads them."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from helpers.cluster import quantities

SUFFIXES = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u"]
NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3).map(lambda number: f"{number:f}")


@given(number=NUMBERS, suffix=st.sampled_from(SUFFIXES))
def test_quantities_are_what_the_official_client_reads(number: str, suffix: str) -> None:
    text = f"{number}{suffix}"
    expected = Fraction(Decimal(parse_quantity(text)))  # type: ignore[no-untyped-call]
    found = quantities.parse(text)
    assert found is not None
    assert abs(found - expected) <= abs(expected) * Fraction(1, 10**20)


@pytest.mark.parametrize(
    "text",
    [
        "8GB",
        "8 Gi",
        "8gi",
        "two",
        "",
        "1.2.3",
        "1e",
        "--1",
        "Gi",
        "1Kib",
        "0x10",
        "1,5",
        "1mi",
        "∞",
    ],
)
def test_what_is_no_quantity_is_none(text: str) -> None:
    assert quantities.parse(text) is None


@pytest.mark.parametrize(
    ("value", "amount"),
    [("1e3", 1000), ("1E3", 1000), ("1E", 10**18), ("-5", -5), (2, 2), (".5", Fraction(1, 2)),
     ("2.", 2), (0.25, Fraction(1, 4)), ("12e-1", Fraction(6, 5))],
)  # fmt: skip
def test_every_form_of_a_quantity_is_read(value: object, amount: Fraction) -> None:
    assert quantities.parse(value) == amount


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_other_types_are_no_quantity(value: object) -> None:
    assert quantities.parse(value) is None
