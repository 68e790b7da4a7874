"""Amounts count the smallest unit that their currency has."""

from decimal import Decimal

import pytest

from gates.core.errors import NotCanonical
from gates.core.model import Money


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "words"),
    [
        ("12500.00", "EUR", 1_250_000, "12,500.00 EUR"),
        ("-0.05", "EUR", -5, "-0.05 EUR"),
        ("12500", "JPY", 12_500, "12,500 JPY"),
        ("1.001", "KWD", 1_001, "1.001 KWD"),
        ("-3.5", "BHD", -3_500, "-3.500 BHD"),
        ("1.0001", "CLF", 10_001, "1.0001 CLF"),
        ("5", "PTS", 500, "5.00 PTS"),
        ("123456789012345678901234567890.12", "EUR", 12345678901234567890123456789012, None),
    ],
)
def test_money_has_the_digits_of_its_currency(amount, currency, minor, words):
    """As ISO 4217 says; what it does not know has two."""
    made = Money.of(Decimal(amount), currency)
    assert made.minor == minor
    assert words is None or str(made) == words


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        ("0.001", "EUR", "amount = 0.001 EUR has a fraction of a cent"),
        ("0.5", "JPY", "amount = 0.5 JPY has a fraction of a unit (JPY has 0 digits)"),
        ("0.0001", "KWD", "has a fraction of a unit (KWD has 3 digits)"),
        ("NaN", "EUR", "has a fraction of a cent"),
        ("Infinity", "EUR", "has a fraction of a cent"),
        ("1E+999999", "EUR", "has a fraction of a cent"),
        ("123456789012345678901234567890.123", "EUR", "has a fraction of a cent"),
    ],
)
def test_a_part_of_the_smallest_unit_is_refused(amount, currency, words):
    """Rounding could cross a limit."""
    with pytest.raises(NotCanonical) as caught:
        Money.of(Decimal(amount), currency)
    assert words in str(caught.value)
