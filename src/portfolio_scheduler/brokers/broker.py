"""What the product asks of a broker. An implementation reads; nothing in this protocol can place an order.

One `BrokerSession` serves one account: its own HTTP client, token and rate budget, never shared.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta
from typing import BinaryIO, ClassVar, Protocol

from msgspec import Struct

from portfolio_scheduler.clock import Clock
from portfolio_scheduler.domain.instruments import Listing
from portfolio_scheduler.domain.records import Answer, Fetched, Instrument, Login, Order, SectionResult, Statement
from portfolio_scheduler.domain.tables import BadLine


class Credentials(Struct, frozen=True, kw_only=True):
    """Secrets of one account. Its repr shows none of them."""

    login: Login
    api_key: str = ""
    api_secret: str = ""  # approval logins
    totp_secret: str = ""  # base32, TOTP logins
    access_token: str = ""  # pasted tokens

    def __repr__(self) -> str:
        return f"Credentials(login={self.login.value!r}, •••)"


class AccessToken(Struct, frozen=True, kw_only=True):
    """A broker's bearer token and the instant it dies."""

    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"AccessToken(•••, expires_at={self.expires_at.isoformat()})"


class BrokerSession(Protocol):
    """Reads of one account."""

    @property
    def token(self) -> AccessToken | None:
        """The token in use, to be kept sealed by the caller; changes when one is minted."""
        ...

    @property
    def mints(self) -> int:
        """How many tokens this session has asked for (at most two)."""
        ...

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of ours, by the answers so far; None before the first."""
        ...

    @property
    def resume_at(self) -> datetime | None:
        """Until when the broker wants this account left alone, when that is longer than a session waits."""
        ...

    async def fetch_book(self, sections: Collection[str] | None) -> Fetched:
        """User detail, holdings, positions, orders and margin: all of them (None) or the named sections only.

        A section that fails becomes an outcome; only a login that fails from the start raises
        (`BrokerLoginRequired` when the owner must act, another `BrokerError` when trying later may help).
        """
        ...

    async def fetch_earlier(self, orders: Sequence[Order]) -> Fetched:
        """Orders of earlier days, one by one by their id. A refusal is an answer, too; trouble leaves no answer."""
        ...

    async def fetch_fills(self, orders: Sequence[Order]) -> Fetched:
        """The executions of these orders, one call (or more pages) each. Section "fills"."""
        ...

    async def fetch_prices(self, instruments: Sequence[Instrument]) -> Fetched:
        """Last traded prices, in batches. One bad symbol never loses the others. Section "prices"."""
        ...


class Broker(Protocol):
    """One broker. `open` makes a session for one account; `parse` is pure."""

    name: ClassVar[str]
    approval_url: ClassVar[str]  # where the owner approves an API key for the day

    def open(
        self, credentials: Credentials, token: AccessToken | None, clock: Clock
    ) -> AbstractAsyncContextManager[BrokerSession]: ...

    def parse(
        self, answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
    ) -> Statement:
        """Turn raw answers into records, exactly and without I/O; the same answers always give the same statement.

        Raises nothing: a section whose answers cannot be read becomes `failed` with `BrokerAnswerUnknown`.
        """
        ...

    async def fetch_instruments(self, into: BinaryIO, clock: Clock) -> None:
        """Write the broker's public list of instruments into a file. No login is needed and none is sent."""
        ...

    def parse_instruments(self, lines: Iterable[str]) -> Iterator[Listing | BadLine]:
        """Turn the lines of that file into listings; pure. `InvalidInput` when it is no such file."""
        ...
