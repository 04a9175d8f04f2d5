"""The address of the installation is written as browsers write an origin, and is safe to send passwords to."""

import pytest

from portfolio_scheduler import settings
from portfolio_scheduler.errors import SetupProblem

NAME = "PORTFOLIO_SCHEDULER_URL"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://portfolio.example.org", "https://portfolio.example.org"),
        ("https://Portfolio.Example.org/", "https://portfolio.example.org"),
        ("https://portfolio.example.org:443", "https://portfolio.example.org"),
        ("https://portfolio.example.org:8443", "https://portfolio.example.org:8443"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_an_address_is_read_as_browsers_write_it(given: str, read: str) -> None:
    assert settings.load({NAME: given}).url == read


def test_without_one_it_is_this_machine_and_the_port() -> None:
    assert settings.load({}).url == "http://127.0.0.1:8800"
    assert settings.load({"PORTFOLIO_SCHEDULER_PORT": "9000"}).url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    "given",
    [
        "portfolio.example.org",
        "http://portfolio.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
        "https://user:word@portfolio.example.org",
        "https://portfolio.example.org/path",
        "https://portfolio.example.org?x=1",
        "https://portfolio.example.org#x",
        "https://",
        "https://portfolio.example.org:0x50",
        "https://portfolio.example.org:99999",
        "https://portfolio.example.org:",
        "https://port folio",
        "https://portfolio.example.org\n",
        "https://[::1",
        "ftp://localhost",
        "javascript:alert(1)",
        "https://*.example.org",
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused_by_name(given: str) -> None:
    with pytest.raises(SetupProblem, match=f"{NAME} is .* it must be an address such as https://"):
        settings.load({NAME: given})
