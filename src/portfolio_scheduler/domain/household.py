"""All accounts of one person together: what they are worth, and each share once, whichever brokers hold it. Pure.

A sum is told only where every part of it is known; where one is not, it is None and says whose part is missing.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Protocol

from msgspec import Struct

from portfolio_scheduler.domain.completeness import AMOUNTS, CHANGE
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.summary import Summary
from portfolio_scheduler.domain.valuation import EXACT


class Holding(Protocol):
    """One ISIN of one account, each unit counted once."""

    @property
    def account(self) -> str: ...
    @property
    def isin(self) -> str: ...
    @property
    def trading_symbol(self) -> str: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def invested(self) -> Decimal | None: ...
    @property
    def price(self) -> Decimal | None: ...
    @property
    def priced_on(self) -> date | None: ...
    @property
    def value(self) -> Decimal | None: ...


class Share(Struct, frozen=True, kw_only=True):
    """One ISIN over all accounts. Amounts in rupees; None is unknown and `reasons` says why."""

    isin: str
    trading_symbol: str
    accounts: list[str]  # labels of those that hold it
    quantity: Decimal
    average_price: Decimal | None
    invested: Decimal | None
    price: Decimal | None
    priced_on: date | None
    value: Decimal | None
    unrealised_pnl: Decimal | None
    reasons: tuple[str, ...] = ()


class Household(Struct, frozen=True, kw_only=True):
    """The totals over all accounts. Amounts in rupees; None is unknown and `unknown` says why."""

    holdings_value: Decimal | None = None
    invested: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    positions_pnl: Decimal | None = None
    cash: Decimal | None = None
    margin_used: Decimal | None = None
    day_change: Decimal | None = None
    market_move: Decimal | None = None
    net_invested: Decimal | None = None
    transferred: Decimal | None = None
    unexplained: Decimal | None = None
    trading_on: date | None = None  # None when the accounts were last read on different days
    oldest_price_on: date | None = None
    unknown: dict[str, str] = {}
    accounts: list[Summary] = []


def household(summaries: Sequence[Summary]) -> Household:
    """The sums of the accounts' figures, as far as every account has them."""
    days = {summary.trading_on for summary in summaries}
    totals: dict[str, Decimal | None] = {}
    unknown: dict[str, str] = {}
    for name in AMOUNTS:
        lacking = [f"{one.account}: {one.unknown.get(name) or one.reason or 'not known'}" for one in summaries
                   if getattr(one, name) is None]  # fmt: skip
        if name in CHANGE and len(days) > 1:
            lacking = ["the accounts were last read on different trading days", *lacking]
        if not summaries:
            lacking = ["no account is connected"]
        if lacking:
            totals[name], unknown[name] = None, "; ".join(lacking)
        else:
            totals[name] = _sum(getattr(one, name) for one in summaries)
    return Household(
        **totals,
        trading_on=days.pop() if len(days) == 1 else None,
        oldest_price_on=min((one.oldest_price_on for one in summaries if one.oldest_price_on), default=None),
        unknown=unknown,
        accounts=list(summaries),
    )


def shares(holdings: Iterable[Holding]) -> list[Share]:
    """The holdings of all accounts, each ISIN once, by symbol."""
    by_isin: dict[str, list[Holding]] = {}
    for holding in holdings:
        by_isin.setdefault(holding.isin, []).append(holding)
    return sorted(map(_share, by_isin.values()), key=lambda share: (share.trading_symbol, share.isin))


def _share(held: Sequence[Holding]) -> Share:
    quantity = _sum(one.quantity for one in held) or ZERO
    value, invested = _all(held, lambda one: one.value), _all(held, lambda one: one.invested)
    newest = max(held, key=lambda one: one.priced_on or date.min)
    lacking = [f"no price yet ({one.account})" for one in held if one.value is None]
    lacking += [f"the broker gave no average price ({one.account})" for one in held if one.invested is None]
    return Share(
        isin=newest.isin,
        trading_symbol=newest.trading_symbol,
        accounts=sorted(one.account for one in held),
        quantity=quantity,
        average_price=None if invested is None or not quantity else (invested / quantity).quantize(Decimal("0.0001")),
        invested=invested,
        price=newest.price,
        priced_on=newest.priced_on,
        value=value,
        unrealised_pnl=None if value is None or invested is None else value - invested,
        reasons=tuple(lacking),
    )


def _all(held: Sequence[Holding], figure: Callable[[Holding], Decimal | None]) -> Decimal | None:
    return _sum(figure(one) for one in held)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum, or None as soon as one part is unknown."""
    with localcontext() as context:
        context.prec = EXACT
        total = ZERO
        for amount in amounts:
            if amount is None:
                return None
            total += amount
        return total
