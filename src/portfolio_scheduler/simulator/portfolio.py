"""The reads about one account: user, holdings, positions, orders, trades, margins."""

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.answers import (
    Answer,
    bad_request,
    encode,
    enveloped,
    not_found,
    rows,
    success,
)
from portfolio_scheduler.simulator.calls import Call
from portfolio_scheduler.simulator.holdings import Delivery
from portfolio_scheduler.simulator.margins import margins
from portfolio_scheduler.simulator.orders import Order
from portfolio_scheduler.simulator.wall import DAY_SECONDS

SEGMENTS = ("CASH", "FNO", "COMMODITY")


def user(call: Call) -> Answer:
    login = call.account.login
    return success(
        {
            "vendor_user_id": login.vendor_user_id,
            "ucc": login.ucc,
            "nse_enabled": True,
            "bse_enabled": True,
            "ddpi_enabled": login.kind != "quiet",
            "active_segments": list(call.account.segments),
        }
    )


def holdings(call: Call) -> Answer:
    account = call.account
    if account.answers.holdings is not None:
        return Answer(account.answers.holdings)
    known = account.cached.get("holdings")
    if known is None:
        known = account.cached["holdings"] = enveloped(encode({"holdings": _holding_rows(account)}))
    return Answer(known)


def _holding_rows(account: Account) -> list[object]:
    if account.quirks.holdings_include_today:
        return [holding.row() for holding in account.holdings_after_today().values()]
    today = account.deliveries()
    return [
        holding.row(sold_today=max(-today.get(isin, Delivery()).net, 0)) for isin, holding in account.holdings.items()
    ]


def positions(call: Call) -> Answer:
    account = call.account
    if account.answers.positions is not None:
        return Answer(account.answers.positions)
    segment = call.query.get("segment")
    _check_segment(segment)
    name = f"positions/{segment}"
    known = account.cached.get(name)
    if known is None:
        found = [place.row() for key, place in account.positions.items() if segment in {None, key.segment}]
        known = account.cached[name] = enveloped(encode({"positions": found}))
    return Answer(known)


def positions_of_symbol(call: Call) -> Answer:
    symbol, segment = call.required("trading_symbol"), call.query.get("segment")
    _check_segment(segment)
    found = [
        position.row()
        for key, position in call.account.positions.items()
        if key.symbol == symbol and segment in {None, key.segment}
    ]
    return success({"positions": found})


def _check_segment(segment: str | None) -> None:
    if segment is not None and segment not in SEGMENTS:
        raise bad_request(f"Invalid segment: {segment}")


def order_list(call: Call) -> Answer:
    """Today's orders, newest first, one page of them."""
    quirks = call.account.quirks
    segment = call.query.get("segment")
    _check_segment(segment)
    page = call.number("page", 0)
    size = min(call.number("page_size", quirks.order_page_default), quirks.order_page_cap)
    if page < 0 or size < 1:
        raise bad_request("Invalid page or page_size")
    page = 0 if quirks.repeats_pages else page
    found = _listed_orders(call, segment)[page * size : (page + 1) * size]
    return Answer(enveloped(rows("order_list", found)))


def _listed_orders(call: Call, segment: str | None) -> list[bytes]:
    account = call.account
    if account.answers.orders is not None:
        return [row for _, its_segment, row in account.answers.orders if segment in {None, its_segment}]
    shift = account.quirks.rolls_at_hour * 3600
    today = (call.now - shift) // DAY_SECONDS
    name = f"orders/{segment}/{today}"
    known = account.cached_rows.get(name)
    if known is None:
        known = account.cached_rows[name] = [
            encode(order.row(account.quirks.order_times))
            for order in reversed(account.orders.values())
            if segment in {None, order.ticket.segment} and (order.created_at - shift) // DAY_SECONDS == today
        ]
    return known


def order_detail(call: Call) -> Answer:
    for order_id, _, row in call.account.answers.orders or []:
        if order_id == call.tail:
            return Answer(enveloped(row))
    order = find_order(call.account, call.tail, call.required("segment"))
    return success(order.row(call.account.quirks.order_times))


def order_status(call: Call) -> Answer:
    return success(find_order(call.account, call.tail, call.required("segment")).status_row())


def order_status_by_reference(call: Call) -> Answer:
    order_id = call.account.references.get(call.tail)
    if order_id is None:
        raise not_found("No order with this reference id")
    return success(find_order(call.account, order_id, call.required("segment")).status_row())


def find_order(account: Account, order_id: str, segment: str) -> Order:
    order = account.orders.get(order_id) or account.earlier_orders.get(order_id)
    if order is None or order.ticket.segment != segment:
        raise not_found("The order does not exist")
    return order


def trades(call: Call) -> Answer:
    cap = call.account.quirks.trades_page_cap
    page, size = call.number("page", 0), call.number("page_size", cap)
    if page < 0 or not 1 <= size <= cap:
        raise bad_request(f"page_size must be between 1 and {cap}")
    put = call.account.answers.trades.get(call.tail)
    if put is None:
        order = find_order(call.account, call.tail, call.required("segment"))
        put = [encode(row) for row in order.trade_rows(call.account.quirks.order_times)]
    return Answer(enveloped(rows("trade_list", put[page * size : (page + 1) * size])))


def margin(call: Call) -> Answer:
    account = call.account
    if account.answers.margins is not None:
        return Answer(account.answers.margins)
    known = account.cached.get("margins")
    if known is None:
        known = account.cached["margins"] = enveloped(encode(margins(account).payload()))
    return Answer(known)
