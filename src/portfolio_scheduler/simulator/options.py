"""What a caller can choose about a simulated Groww: how many accounts, from which seed, at which date, and the
habits of the server that nobody outside Groww knows for sure."""

from dataclasses import dataclass, field
from datetime import date

from portfolio_scheduler.simulator.corporate_actions import CorporateAction

LAST_DAY = date(2026, 4, 24)  # the last day of the closing prices in the package


@dataclass(frozen=True, kw_only=True)
class Load:
    """Every account of exactly this size, for tests and benchmarks."""

    holdings: int = 10
    positions: int = 0  # carried-forward F&O positions; the day's CNC fills add rows of their own
    orders: int = 0  # placed each day
    filled: int = 0  # how many of them are executed, one fill each


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """Habits of the server. Where Groww's are unknown the default is a guess and the switch is there for tests."""

    auto_approve: bool = True  # keys of the approval login are approved every day without anyone asking
    unapproved_status: int = 403
    order_page_default: int = 25  # the documentation says 25 in one place and 100 in another
    order_page_cap: int = 100
    trades_page_cap: int = 50
    holdings_include_today: bool = False  # holdings already contain the day's CNC fills
    rolls_at_hour: int = 0  # when the order list forgets, IST
    remembers_orders: bool = False  # detail, status and trades answer for orders of earlier days
    working_status: str = "OPEN"  # what an order waiting at the exchange is called
    ohlc_as_text: bool = False  # `{open: 1.0,high: …}`, a text that is not JSON
    order_times: str = "naive"  # how orders and trades write their times; see `wall.WRITTEN`
    repeats_pages: bool = False  # the order list answers every page with the first one
    one_token: bool = False  # a new token kills the previous one
    strict_version_header: bool = False  # refuse calls without `X-API-VERSION`
    not_entitled: frozenset[int] = frozenset()  # numbers of accounts without the live-data plan


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions:
    accounts: int = 3
    seed: int = 7
    on: date = LAST_DAY  # the simulator stands at 09:00 IST of this day
    opened_on: date | None = None  # when the accounts start to trade; 20 sessions before `on` unless given
    port: int = 0  # 0: any free one
    ticking: bool = False  # the clock runs in real time instead of standing still
    limits: bool = False  # Groww's rate limits, counted by the simulator's clock
    load: Load | None = None
    actions: tuple[CorporateAction, ...] = ()
    kinds: tuple[str, ...] = ("quiet", "trader", "approval")  # of accounts 1, 2, 3, 4 …, in turn
    quirks: Quirks = field(default_factory=Quirks)
