"""Which path is answered by what. Looked up in a dictionary: the simulator must be faster than what is measured
with it."""

from portfolio_scheduler.simulator import live_data, portfolio, trading
from portfolio_scheduler.simulator.calls import Route
from portfolio_scheduler.simulator.limits import CallType

# user/detail is in none of Groww's classes; the stricter guess is the class of the other reads.
EXACT: dict[tuple[str, str], Route] = {
    ("GET", "/v1/user/detail"): Route(CallType.NON_TRADING, portfolio.user),
    ("GET", "/v1/holdings/user"): Route(CallType.NON_TRADING, portfolio.holdings),
    ("GET", "/v1/positions/user"): Route(CallType.NON_TRADING, portfolio.positions),
    ("GET", "/v1/positions/trading-symbol"): Route(CallType.NON_TRADING, portfolio.positions_of_symbol),
    ("GET", "/v1/order/list"): Route(CallType.NON_TRADING, portfolio.order_list),
    ("GET", "/v1/margins/detail/user"): Route(CallType.NON_TRADING, portfolio.margin),
    ("POST", "/v1/margins/detail/orders"): Route(CallType.NON_TRADING, trading.order_margins),
    ("POST", "/v1/order/create"): Route(CallType.ORDERS, trading.create),
    ("POST", "/v1/order/modify"): Route(CallType.ORDERS, trading.modify),
    ("POST", "/v1/order/cancel"): Route(CallType.ORDERS, trading.cancel),
    ("GET", "/v1/live-data/ltp"): Route(CallType.LIVE_DATA, live_data.ltp),
    ("GET", "/v1/live-data/ohlc"): Route(CallType.LIVE_DATA, live_data.ohlc),
    ("GET", "/v1/live-data/quote"): Route(CallType.LIVE_DATA, live_data.quote),
}

# The rest of the path is an order or reference id. Longer beginnings stand first.
BEGINNINGS: tuple[tuple[str, str, Route], ...] = (
    ("GET", "/v1/order/status/reference/", Route(CallType.NON_TRADING, portfolio.order_status_by_reference)),
    ("GET", "/v1/order/status/", Route(CallType.NON_TRADING, portfolio.order_status)),
    ("GET", "/v1/order/detail/", Route(CallType.NON_TRADING, portfolio.order_detail)),
    ("GET", "/v1/order/trades/", Route(CallType.NON_TRADING, portfolio.trades)),
)

MINT = ("POST", "/v1/token/api/access")
SOCKET_TOKEN = ("POST", "/v1/api/apex/v1/socket/token/create")
CHANGELOG = ("GET", "/v1/changelog")
INSTRUMENTS = (("GET", "/v1/instruments/instrument.csv"), ("GET", "/instruments/instrument.csv"))


def find(method: str, path: str) -> tuple[Route, str] | None:
    """The route and what follows it in the path."""
    route = EXACT.get((method, path))
    if route is not None:
        return route, ""
    for its_method, beginning, route in BEGINNINGS:
        if method == its_method and path.startswith(beginning):
            return route, path[len(beginning) :]
    return None
