"""What a corporate action does to the holdings of one account on its ex-date."""

from dataclasses import replace
from decimal import Decimal

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.corporate_actions import CorporateAction
from portfolio_scheduler.simulator.holdings import Holding


def take_effect(account: Account, action: CorporateAction) -> None:
    """On the morning of the ex-date."""
    held = next((holding for holding in account.holdings.values() if holding.symbol == action.symbol), None)
    if held is None:
        return
    if action.kind == "bonus":
        account.holdings[held.isin] = _with_bonus(held, action)
    elif action.kind == "split":
        _replace(account, held, _split(account, held, action))
    elif action.kind == "merger":
        _replace(account, held, _units_of(account, held, action, held.cost))
    else:
        given = held.cost * action.cost_permille / 1000
        account.holdings[held.isin] = replace(held, cost=held.cost - given)
        _add(account, _units_of(account, held, action, given))


def credit(account: Account, action: CorporateAction) -> None:
    """The units of a bonus that were announced arrive."""
    for isin, holding in account.holdings.items():
        if holding.symbol == action.symbol and holding.pending:
            account.holdings[isin] = replace(holding, free=holding.free + holding.pending, pending=0)
            return


def _with_bonus(held: Holding, action: CorporateAction) -> Holding:
    more = int(held.quantity * action.ratio) - held.quantity
    if action.credited_on is not None:
        return replace(held, pending=held.pending + more)
    return replace(held, free=held.free + more)


def _split(account: Account, held: Holding, action: CorporateAction) -> Holding:
    stock = account.instruments.stock(action.symbol, action.on)
    assert stock is not None, "only known stocks are split"
    t1 = int(held.t1 * action.ratio)
    pledged = int(held.pledged * action.ratio)
    return replace(held, isin=stock.isin, free=int(held.quantity * action.ratio) - t1, t1=t1, pledged=pledged)


def _units_of(account: Account, held: Holding, action: CorporateAction, cost: Decimal) -> Holding:
    """Units of the other company; fractions of a unit are lost (in life they are paid in cash, weeks later)."""
    stock = account.instruments.stock(action.into or "", action.on)
    assert stock is not None, "a merger or demerger names a known stock in `into`"
    return Holding(isin=stock.isin, symbol=stock.symbol, free=int(held.quantity * action.ratio), cost=cost)


def _replace(account: Account, old: Holding, new: Holding) -> None:
    del account.holdings[old.isin]
    _add(account, new)


def _add(account: Account, more: Holding) -> None:
    held = account.holdings.get(more.isin)
    if held is not None:
        more = replace(held, free=held.free + more.free, t1=held.t1 + more.t1, cost=held.cost + more.cost)
    if more.quantity:
        account.holdings[more.isin] = more
