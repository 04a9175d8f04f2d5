"""What a broker says, in our words. Frozen records: brokers make them, the ledger keeps them.

Quantities are units, prices and amounts rupees, both `Decimal`. `_at` is an aware UTC instant, `_on` a date in IST.
Words that we do not know (a status, a segment) are kept verbatim and named in `flags` as "field:word".
"""

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from portfolio_scheduler.clock import IST
from portfolio_scheduler.domain.money import ZERO, plain

# A time as far as its date, its minute, its second.
CUTS: tuple[Callable[[datetime], datetime], ...] = (
    lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0),
    lambda at: at.replace(second=0, microsecond=0),
    lambda at: at.replace(microsecond=0),
)
SEGMENTS = frozenset({"CASH", "FNO", "COMMODITY", "CURRENCY"})
EXCHANGES = frozenset({"NSE", "BSE", "MCX", "MCXSX", "NCDEX", "US"})
PRODUCTS = frozenset({"CNC", "MIS", "NRML", "MTF", "CO", "BO", "ARB"})
SIDES = frozenset({"BUY", "SELL"})
ORDER_TYPES = frozenset({"LIMIT", "MARKET", "SL", "SL_M"})
VALIDITIES = frozenset({"DAY", "IOC", "GTC", "GTD", "EOS"})
AMO_STATUSES = frozenset({"NA", "PENDING", "DISPATCHED", "PARKED", "PLACED", "FAILED", "MARKET"})

# How far an order has come. A status never goes back to a lower rank; an unknown word ranks as working.
STATUS_RANK = {
    "NEW": 0,
    "ACKED": 1,
    "TRIGGER_PENDING": 2,
    "APPROVED": 2,
    "OPEN": 2,
    "MODIFICATION_REQUESTED": 2,
    "CANCELLATION_REQUESTED": 2,
    "EXECUTED": 3,
    "DELIVERY_AWAITED": 4,
    "COMPLETED": 5,
    "CANCELLED": 5,
    "REJECTED": 5,
    "FAILED": 5,
}
WORKING_RANK = 2
# No more fills come after these; after a status-final one no other status may follow either.
FILL_FINAL = frozenset(
    {"EXECUTED", "DELIVERY_AWAITED", "COMPLETED", "CANCELLED", "REJECTED", "FAILED"}
)  # no more fills
STATUS_FINAL = frozenset({"COMPLETED", "CANCELLED", "REJECTED", "FAILED"})


class Login(StrEnum):
    """How an account gets its access token."""

    TOTP = "totp"  # renews by itself
    APPROVAL = "approval"  # key and secret; the owner approves the key each day
    TOKEN = "token"  # pasted by the owner, dies at 06:00 IST


class Holding(Struct, frozen=True, kw_only=True):
    """One line of the demat account. `quantity` includes `t1_quantity` (measured; see docs/groww.md)."""

    isin: str
    trading_symbol: str
    quantity: Decimal
    average_price: Decimal | None = None
    t1_quantity: Decimal = ZERO
    demat_free_quantity: Decimal = ZERO
    demat_locked_quantity: Decimal = ZERO
    broker_locked_quantity: Decimal = ZERO
    pledge_quantity: Decimal = ZERO
    repledge_quantity: Decimal = ZERO
    corporate_action_quantity: Decimal = ZERO
    transfer_quantity: Decimal = ZERO
    exchanges: tuple[str, ...] = ()  # where it can be traded; empty when the broker did not say


class Position(Struct, frozen=True, kw_only=True):
    """One line of the day's positions. Key: segment, exchange, trading symbol, product."""

    segment: str
    exchange: str
    trading_symbol: str
    product: str
    isin: str | None = None
    quantity: Decimal  # the broker's signed net quantity; short is negative
    credit_quantity: Decimal = ZERO  # bought today
    credit_price: Decimal = ZERO
    debit_quantity: Decimal = ZERO  # sold today
    debit_price: Decimal = ZERO
    carry_forward_credit_quantity: Decimal = ZERO
    carry_forward_credit_price: Decimal = ZERO
    carry_forward_debit_quantity: Decimal = ZERO
    carry_forward_debit_price: Decimal = ZERO
    net_price: Decimal | None = None
    net_carry_forward_quantity: Decimal = ZERO
    net_carry_forward_price: Decimal | None = None
    realised_pnl: Decimal | None = None
    flags: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.segment, self.exchange, self.trading_symbol, self.product)


class Order(Struct, frozen=True, kw_only=True):
    """An order as the broker shows it at one moment: every field it sends."""

    broker_order_id: str
    segment: str
    exchange: str
    trading_symbol: str
    product: str
    side: str  # BUY or SELL
    order_type: str
    validity: str | None = None
    status: str
    amo_status: str | None = None
    quantity: Decimal
    filled_quantity: Decimal = ZERO
    remaining_quantity: Decimal | None = None
    deliverable_quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    average_fill_price: Decimal | None = None
    remark: str | None = None
    order_reference_id: str | None = None
    created_at: datetime | None = None
    exchange_at: datetime | None = None
    trade_on: date | None = None
    created_raw: str | None = None  # the broker's own strings, whatever we made of them
    exchange_raw: str | None = None
    trade_raw: str | None = None
    flags: tuple[str, ...] = ()


class Fill(Struct, frozen=True, kw_only=True):
    """One execution of an order. `synthetic`: no trade list was to be had, so it is the order's own filled figures."""

    broker_order_id: str
    broker_trade_id: str
    exchange_trade_id: str | None = None
    exchange_order_id: str | None = None
    segment: str | None = None
    exchange: str | None = None
    trading_symbol: str | None = None
    isin: str | None = None
    product: str | None = None
    side: str | None = None
    quantity: Decimal
    price: Decimal
    status: str | None = None
    remark: str | None = None
    settlement_number: str | None = None
    traded_at: datetime | None = None
    traded_raw: str | None = None
    synthetic: bool = False  # its trade id is `stand_in_id`
    flags: tuple[str, ...] = ()

    @property
    def is_cancelled(self) -> bool:
        """The exchange took it back: it counts as no execution."""
        return self.status == "CANCELLED"


def may_be_same_time(before: datetime | None, after: datetime | None) -> bool:
    """Whether two times the broker gave for one instant agree as far as the coarser of them goes.

    Brokers give a time as a date, to the minute or to the second first, and more exactly later. An unknown one
    contradicts nothing.
    """
    if before is None or after is None or before == after:
        return True
    first, second = before.astimezone(IST), after.astimezone(IST)
    return any(cut(first) == cut(second) and cut(one) == one for cut in CUTS for one in (first, second))


def stand_in_id(quantity: Decimal) -> str:
    """The trade id of a fill made from an order's own figures: how much of the order was filled by then."""
    return f"synthetic:{plain(quantity)}"


class Margin(Struct, frozen=True, kw_only=True):
    """Cash and margin in rupees; what the broker leaves out is None, never 0."""

    clear_cash: Decimal | None = None
    net_margin_used: Decimal | None = None
    brokerage_and_charges: Decimal | None = None
    collateral_used: Decimal | None = None
    collateral_available: Decimal | None = None
    adhoc_margin: Decimal | None = None


class Instrument(Struct, frozen=True, kw_only=True, order=True):
    """What a price belongs to. `key` is the ISIN for cash-market lines, else "EXCHANGE:SYMBOL"."""

    key: str
    exchange: str
    segment: str
    trading_symbol: str


class Price(Struct, frozen=True, kw_only=True):
    """A price of one instrument with its source and time."""

    key: str
    exchange: str
    segment: str
    trading_symbol: str
    price: Decimal
    source: str  # "ltp" last traded price, "import", …
    priced_on: date  # the trading day it is the price of
    priced_at: datetime


class Owner(Struct, frozen=True, kw_only=True):
    """Whose account it is, in the broker's words."""

    ucc: str  # the client code; must stay the same for ever
    vendor_user_id: str | None = None
    segments: tuple[str, ...] = ()  # active segments, e.g. CASH, FNO


class Outcome(StrEnum):
    """How one section of a statement ended."""

    OK = "ok"
    FAILED = "failed"  # changes nothing it owns
    UNSTABLE = "unstable"  # the list never settled: kept, but not proven complete
    SUSPECT = "suspect"  # contradicts what we know; applied only after a second reading
    NOT_ENTITLED = "not_entitled"  # the account may not read it; the sync goes on


class SectionResult(Struct, frozen=True, kw_only=True):
    """The outcome of one section with the reason when it is not plainly ok."""

    outcome: Outcome
    error: str | None = None  # the class of the error, e.g. "BrokerUnavailable"
    reason: str | None = None  # one sentence
    digest: str | None = None  # of the answer that nobody understood, to see whether it is the same again


OK = SectionResult(outcome=Outcome.OK)


class Answer(Struct, frozen=True, kw_only=True):
    """One raw answer of a broker, as it came. What is parsed today can be parsed again, better, in ten years."""

    call: str  # which read, e.g. "holdings", "orders", "fills", "ltp"
    section: str  # the section it belongs to, e.g. "holdings", "orders:CASH"
    request: str  # path and query, without credentials
    status: int  # HTTP status
    body: bytes
    digest: bytes  # SHA-256 of the body
    fetched_at: datetime


class Fetched(Struct, frozen=True, kw_only=True):
    """Raw answers with the outcome of each section that was asked for."""

    answers: tuple[Answer, ...] = ()
    sections: dict[str, SectionResult] = {}

    @property
    def fingerprint(self) -> bytes:
        """The same for the same bytes in answer to the same questions, with the same outcome; whenever it was."""
        said = sorted((a.section, a.request, str(a.status), a.digest.hex()) for a in self.answers)
        ended = sorted((name, result.outcome.value) for name, result in self.sections.items())
        return hashlib.sha256(repr((said, ended)).encode()).digest()


class Statement(Struct, frozen=True, kw_only=True):
    """All a broker says at one moment. A section that is not in `sections` was not asked for.

    `digests` names the raw answer things came from: by section (of several answers the last), and more precisely by
    "order:<broker order id>" and "fills:<broker order id>".
    """

    observed_at: datetime
    owner: Owner | None = None
    holdings: tuple[Holding, ...] = ()
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    earlier: tuple[Order, ...] = ()  # orders of earlier days that were asked for by their id
    unanswered: tuple[str, ...] = ()  # ids of such orders that the broker knows nothing of
    fills: tuple[Fill, ...] = ()
    margin: Margin | None = None
    prices: tuple[Price, ...] = ()
    sections: dict[str, SectionResult] = {}
    digests: dict[str, bytes] = {}
    flags: tuple[str, ...] = ()  # unknown words and odd records, as "section:field:word"
    quarantined: tuple[dict[str, str], ...] = ()  # records that could not be used, each with its reason
    fingerprint: bytes | None = None  # of the answers to what was asked first

    def joined(self, other: "Statement") -> "Statement":
        """Two statements of the same moment, each about sections of its own, as one."""
        return Statement(
            observed_at=self.observed_at,
            owner=self.owner or other.owner,
            holdings=self.holdings + other.holdings,
            positions=self.positions + other.positions,
            orders=self.orders + other.orders,
            earlier=self.earlier + other.earlier,
            unanswered=self.unanswered + other.unanswered,
            fills=self.fills + other.fills,
            margin=self.margin or other.margin,
            prices=self.prices + other.prices,
            sections=self.sections | other.sections,
            digests=self.digests | other.digests,
            flags=tuple(sorted({*self.flags, *other.flags})),
            quarantined=self.quarantined + other.quarantined,
        )

    @property
    def order_ids(self) -> tuple[str, ...]:
        """All orders that the statement speaks of."""
        return (*(order.broker_order_id for order in (*self.orders, *self.earlier)), *self.unanswered)

    def ok(self, section: str) -> bool:
        result = self.sections.get(section)
        return result is not None and result.outcome is Outcome.OK

    def applies(self, section: str) -> bool:
        """Whether the rows of this section may be used (an unstable list still tells true things)."""
        result = self.sections.get(section)
        return result is not None and result.outcome in {Outcome.OK, Outcome.UNSTABLE}
