"""Cash and what of it is bound: computed from the day's positions, settled into cash overnight."""

from decimal import Decimal
from typing import Any, NamedTuple

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.orders import ZERO, trim
from portfolio_scheduler.simulator.positions import Position

MIS_SHARE = Decimal("0.2")  # of the value of an intraday position
SPAN_SHARE = Decimal("0.09")  # of the value of a future or a sold option
EXPOSURE_SHARE = Decimal("0.03")


class Margins(NamedTuple):
    """Rupees."""

    cash: Decimal
    charges: Decimal
    cnc: Decimal
    mis: Decimal
    span: Decimal
    exposure: Decimal
    premium: Decimal

    @property
    def used(self) -> Decimal:
        return self.cnc + self.mis + self.span + self.exposure + self.premium

    @property
    def available(self) -> Decimal:
        return self.cash - self.charges - self.used

    def payload(self) -> dict[str, Any]:
        available = _money(self.available)
        return {
            "clear_cash": _money(self.cash),
            "net_margin_used": _money(self.used),
            "brokerage_and_charges": _money(self.charges),
            "collateral_used": 0,
            "collateral_available": 0,
            "adhoc_margin": 0,
            "fno_margin_details": {
                "net_fno_margin_used": _money(self.span + self.exposure + self.premium),
                "span_margin_used": _money(self.span),
                "exposure_margin_used": _money(self.exposure),
                "future_balance_available": available,
                "option_buy_balance_available": available,
                "option_sell_balance_available": available,
            },
            "equity_margin_details": {
                "net_equity_margin_used": _money(self.cnc + self.mis),
                "cnc_margin_used": _money(self.cnc),
                "mis_margin_used": _money(self.mis),
                "cnc_balance_available": available,
                "mis_balance_available": available,
            },
            "commodity_margin_details": dict.fromkeys(COMMODITY_FIELDS, 0),
        }


COMMODITY_FIELDS = (
    "commodity_span_margin",
    "commodity_exposure_margin",
    "commodity_tender_margin",
    "commodity_special_margin",
    "commodity_additional_margin",
    "commodity_unrealised_m2m",
    "commodity_realised_m2m",
)


def _money(value: Decimal) -> Decimal:
    return trim(value.quantize(Decimal("0.01")))


def is_bought_option(position: Position) -> bool:
    return position.key.segment == "FNO" and not position.key.symbol.endswith("FUT") and position.quantity >= 0


def margins(account: Account) -> Margins:
    cnc = mis = blocked = premium = ZERO
    for position in account.positions.values():
        if position.key.product == "CNC":
            cnc += position.bought_value - position.sold_value
        elif position.key.product == "MIS":
            mis += position.entry_price * abs(position.quantity) * MIS_SHARE
        else:
            premium += _premium(position)
            if not is_bought_option(position):
                blocked += _notional(account, position)
    return Margins(
        cash=account.cash,
        charges=sum((order.charges for order in account.orders.values()), ZERO),
        cnc=max(cnc, ZERO),
        mis=mis,
        span=blocked * SPAN_SHARE,
        exposure=blocked * EXPOSURE_SHARE,
        premium=max(premium, ZERO),
    )


def _premium(position: Position) -> Decimal:
    """Paid for options today, less received."""
    return ZERO if position.key.symbol.endswith("FUT") else position.bought_value - position.sold_value


def _notional(account: Account, position: Position) -> Decimal:
    contract = account.instruments.contracts.find(position.key.symbol)
    strike = contract.strike if contract is not None else 0
    return (Decimal(strike) if strike else position.entry_price) * abs(position.quantity)


def cash_flow(position: Position) -> Decimal:
    """What a day in this position moves in cash, in rupees. Only futures are settled by their result alone."""
    if position.key.segment == "FNO" and position.key.symbol.endswith("FUT"):
        return position.realised
    if position.key.product == "MIS":
        return position.realised
    return position.sold_value - position.bought_value
