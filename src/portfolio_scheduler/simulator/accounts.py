"""One simulated account: its logins, what it holds, today's orders, and the agenda of what will still happen to
it.

Accounts do not meet each other, so each walks through time by itself, when somebody asks for it: thousands cost
nothing until they are looked at, and the result is the same whenever one looks.
"""

from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import sha256
from heapq import heappop, heappush
from random import Random

from portfolio_scheduler.simulator.holdings import Delivery, Holding
from portfolio_scheduler.simulator.instruments import Instruments
from portfolio_scheduler.simulator.options import Quirks
from portfolio_scheduler.simulator.orders import ZERO, Order, Ticket
from portfolio_scheduler.simulator.positions import Position, PositionKey


@dataclass(frozen=True, kw_only=True)
class Login:
    """How an account logs in: with a TOTP secret, or with a secret whose key must be approved each day."""

    number: int
    kind: str
    ucc: str
    vendor_user_id: str
    api_key: str
    secret: str | None
    totp_secret: str | None

    @property
    def method(self) -> str:
        return "totp" if self.totp_secret else "approval"


def make_login(seed: int, number: int, kind: str) -> Login:
    digest = sha256(f"{seed}/{number}/login".encode()).digest()
    text = digest.hex()
    approval = kind == "approval"
    return Login(
        number=number,
        kind=kind,
        ucc=str(100_000_000 + number * 1009 + digest[0]),
        vendor_user_id=f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}",
        api_key=f"sim-{'key' if approval else 'totp'}-{number}-{text[32:56]}",
        secret=f"sim-secret-{sha256(digest).hexdigest()[:32]}" if approval else None,
        totp_secret=None if approval else b32encode(sha256(digest).digest()[:20]).decode(),
    )


@dataclass(kw_only=True)
class Answers:
    """Rows a test put in place of what the account would say; None means: nothing was put there."""

    holdings: bytes | None = None
    positions: bytes | None = None
    margins: bytes | None = None
    orders: list[tuple[str, str, bytes]] | None = None  # order id, segment, the row as it is sent
    trades: dict[str, list[bytes]] = field(default_factory=dict)


class Account:
    def __init__(self, login: Login, seed: int, instruments: Instruments, quirks: Quirks) -> None:
        self.login = login
        self.seed = seed
        self.instruments = instruments
        self.quirks = quirks
        self.now = 0  # how far it has walked, a wall second
        self.cash = ZERO  # rupees at the start of the day
        self.holdings: dict[str, Holding] = {}  # by ISIN
        self.positions: dict[PositionKey, Position] = {}
        self.orders: dict[str, Order] = {}  # the list of today, oldest first
        self.earlier_orders: dict[str, Order] = {}
        self.references: dict[str, str] = {}
        self.answers = Answers()
        # Encoded answers and rows of lists, dropped whenever anything happens.
        self.cached: dict[str, bytes] = {}
        self.cached_rows: dict[str, list[bytes]] = {}
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._agenda_count = 0
        self._id_count = 0

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments the owner has activated."""
        has_contracts = any(key.segment == "FNO" for key in self.positions)
        return ("CASH", "FNO") if has_contracts or self.login.kind == "trader" else ("CASH",)

    def random(self, what: str) -> Random:
        """A source of chance for one purpose, the same for the same seed whatever happened before."""
        return Random(f"{self.seed}/{self.login.number}/{what}")  # noqa: S311 - a simulation, not a secret

    def plan(self, at: int, act: Callable[[int], None]) -> None:
        """Let something happen at that moment; it is told the moment."""
        heappush(self._agenda, (at, self._agenda_count, act))
        self._agenda_count += 1

    def catch_up(self, now: int) -> None:
        """Let everything happen that is due, in order."""
        while self._agenda and self._agenda[0][0] <= now:
            at, _, act = heappop(self._agenda)
            self.forget_answers()
            act(at)
        self.now = now

    def forget_answers(self) -> None:
        """To be called when something changes at another moment than one of the agenda."""
        self.cached.clear()
        self.cached_rows.clear()

    def next_id(self, length: int = 12) -> str:
        """Upper-case letters and digits, different each time, the same for the same seed."""
        self._id_count += 1
        return sha256(f"{self.seed}/{self.login.number}/{self._id_count}".encode()).hexdigest()[:length].upper()

    def price(self, ticket: Ticket, at: int) -> Decimal:
        """The last traded price in rupees; a contract that has expired is worth its settlement."""
        instruments = self.instruments
        contract = instruments.contracts.find(ticket.symbol) if ticket.segment == "FNO" else None
        if contract is not None:
            return Decimal(instruments.contracts.paise(contract, at)).scaleb(-2)
        return Decimal(instruments.market.paise(ticket.symbol, at)).scaleb(-2)

    def deliveries(self) -> dict[str, Delivery]:
        """Today's CNC trades by ISIN."""
        found: dict[str, Delivery] = {}
        for position in self.positions.values():
            if position.key.product == "CNC":
                day = found.get(position.isin, Delivery())
                found[position.isin] = replace(
                    day,
                    bought=day.bought + position.bought,
                    bought_value=day.bought_value + position.bought_value,
                    sold=day.sold + position.sold,
                    sold_value=day.sold_value + position.sold_value,
                )
        return found

    def holdings_after_today(self) -> dict[str, Holding]:
        """What will lie in the account once today's CNC trades are taken in."""
        after = dict(self.holdings)
        for isin, delivery in self.deliveries().items():
            if delivery.net == 0:
                continue
            after[isin] = self._holding(isin).after(delivery)
        return {
            isin: holding for isin, holding in after.items() if holding.quantity or holding.pending or holding.moving
        }

    def _holding(self, isin: str) -> Holding:
        if isin in self.holdings:
            return self.holdings[isin]
        symbol = next(key.symbol for key, position in self.positions.items() if position.isin == isin)
        return Holding(isin=isin, symbol=symbol, free=0)

    def sellable(self, isin: str) -> int:
        """Units that a CNC sale may still take: held and bought today, less sold today and offered."""
        held = self.holdings[isin].quantity - self.holdings[isin].pledged if isin in self.holdings else 0
        offered = sum(
            order.remaining_quantity
            for order in self.orders.values()
            if order.is_working
            and order.ticket.isin == isin
            and order.ticket.transaction_type == "SELL"
            and order.ticket.product == "CNC"
        )
        return held + self.deliveries().get(isin, Delivery()).net - offered
