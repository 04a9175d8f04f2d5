"""Numbers are read exactly or not at all, and shown as people in India write them."""

import re
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolio_scheduler.domain.money import LIMIT, MAX_PLACES, checked, decimal, grouped, plain, rounded, rupees, units
from portfolio_scheduler.errors import InvalidInput

usable = st.decimals(min_value=-LIMIT + 1, max_value=LIMIT - 1, places=MAX_PLACES, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0e5", "0"),
        ("0e-999", "0"),
        ("1", "1"),
        ("007.50", "7.5"),
        ("-1.10", "-1.1"),
        ("100", "100"),
        ("1e3", "1000"),
        ("1.5E+2", "150"),
        ("15e-1", "1.5"),
        ("0.000000000001", "0.000000000001"),
        ("0.10000000000000000000000000000000000000", "0.1"),
        ("9999999999999.999999999999", "9999999999999.999999999999"),
        ("-9999999999999.999999999999", "-9999999999999.999999999999"),
    ],
)
def test_a_number_is_read_exactly(text: str, expected: str) -> None:
    read = decimal(text)
    assert f"{read:f}" == expected == plain(read)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1\n", "1\0", "+1", "--1", ".5", "5.", "1.2.3", "1,000", "1_000", "0x10", "1e", "e5"),
        *("NaN", "nan", "sNaN", "Infinity", "-inf", "१२", "１", "½", "₹5", "1e1000", "1e-1000", "None", "null"),
        "10000000000000",  # the limit itself
        "-10000000000000",
        "1e13",
        "1e999",
        "0.0000000000001",
        "1e-13",
        "1e-999",
        "1.0000000000000000000000000000000000000001",  # rounds to 1 in the usual context; must not pass as 1
        "9999999999999.9999999999999999999999999999",
        "0." + "1" * 41,
        "1" * 41,
    ],
)
def test_what_is_not_a_usable_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decimal(text)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "1e13", "-1e30", "1e-13"])
def test_checked_refuses_what_cannot_be_kept(value: str) -> None:
    with pytest.raises(InvalidInput):
        checked(Decimal(value))


@given(value=usable)
def test_checked_keeps_the_value_and_gives_it_one_form(value: Decimal) -> None:
    kept = checked(value)
    assert kept == value
    assert checked(kept).as_tuple() == kept.as_tuple()
    assert f"{kept:f}" == plain(value)
    with localcontext(prec=3):
        assert checked(value).as_tuple() == kept.as_tuple()  # whatever the context


@given(value=usable)
def test_plain_and_decimal_are_each_others_inverse(value: Decimal) -> None:
    text = plain(value)
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert decimal(text) == value
    assert plain(decimal(text)) == text


@given(text=st.text(max_size=12) | st.from_regex(r"-?[0-9.eE+_]{1,12}", fullmatch=True))
def test_decimal_gives_a_bounded_number_or_refuses(text: str) -> None:
    try:
        value = decimal(text)
    except InvalidInput:
        return
    assert value == Decimal(text)
    assert abs(value) < LIMIT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0E+3", "0"),
        ("0E-30", "0"),
        ("-0.00", "0"),
        ("1E+5", "100000"),
        ("-1.50E+1", "-15"),
        ("100", "100"),
        ("1.10", "1.1"),
        ("0.00100", "0.001"),
        ("1E-7", "0.0000001"),
        ("12345678901234567890.123456789012345678901234567890", "12345678901234567890.12345678901234567890123456789"),
    ],
)
def test_plain_has_no_exponent_and_no_trailing_zeros(value: str, expected: str) -> None:
    assert plain(Decimal(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0.00"),
        ("-0", "0.00"),
        ("0.004", "0.00"),
        ("-0.004", "0.00"),
        ("-0.005", "0.00"),  # half to even
        ("0.015", "0.02"),
        ("-0.015", "-0.02"),
        ("0.025", "0.02"),
        ("1", "1.00"),
        ("12", "12.00"),
        ("123", "123.00"),
        ("999.995", "1,000.00"),
        ("1234.5", "1,234.50"),
        ("12345", "12,345.00"),
        ("123456", "1,23,456.00"),
        ("1234567", "12,34,567.00"),
        ("12345678", "1,23,45,678.00"),
        ("-1234567.891", "-12,34,567.89"),
        ("99999.999", "1,00,000.00"),
        ("1E+7", "1,00,00,000.00"),
        ("9999999999999", "99,99,99,99,99,999.00"),
        ("99999999999999999999999999.99", "9,99,99,99,99,99,99,99,99,99,99,99,999.99"),
    ],
)
def test_digits_are_grouped_as_in_india(value: str, expected: str) -> None:
    assert grouped(Decimal(value)) == expected
    assert rupees(Decimal(value)) == (f"-₹{expected[1:]}" if expected.startswith("-") else f"₹{expected}")


@given(value=usable)
def test_grouping_loses_nothing_but_the_rounding(value: Decimal) -> None:
    text = grouped(value)
    assert re.fullmatch(r"-?[0-9]{1,2}(,[0-9]{2})*,[0-9]{3}\.[0-9]{2}|-?[0-9]{1,3}\.[0-9]{2}", text)
    assert Decimal(text.replace(",", "")) == rounded(value)
    assert grouped(-value).lstrip("-") == text.lstrip("-")


@given(quantity=usable, price=usable)
def test_a_price_times_a_quantity_can_be_rounded(quantity: Decimal, price: Decimal) -> None:
    with localcontext(prec=60):
        amount = quantity * price
    assert abs(rounded(amount) - amount) <= Decimal("0.005")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("10", "10"),
        ("10.500", "10.5"),
        ("-100000", "-1,00,000"),
        ("1234567.125", "12,34,567.125"),
    ],
)
def test_quantities_have_no_trailing_zeros(value: str, expected: str) -> None:
    assert units(Decimal(value)) == expected
