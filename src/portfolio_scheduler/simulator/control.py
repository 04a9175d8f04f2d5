"""The simulator's own API under `/_sim/`: the clock, approvals, faults, rows put in place of answers, and what was
asked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from portfolio_scheduler.clock import IST
from portfolio_scheduler.errors import InvalidInput, NotFound
from portfolio_scheduler.simulator import desk
from portfolio_scheduler.simulator.accounts import Account, Answers
from portfolio_scheduler.simulator.answers import Answer, Refusal, bare, enveloped, rows
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.holdings import Holding
from portfolio_scheduler.simulator.options import Quirks
from portfolio_scheduler.simulator.wall import date_of, wall_at

if TYPE_CHECKING:
    from portfolio_scheduler.simulator.server import Simulator

Body = TypeVar("Body")


class ClockRequest(msgspec.Struct, forbid_unknown_fields=True):
    at: datetime | None = None
    ticking: bool | None = None


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    api_key: str


class AccountRequest(msgspec.Struct, forbid_unknown_fields=True):
    account: int


class RowsRequest(msgspec.Struct, forbid_unknown_fields=True):
    rows: list[msgspec.Raw]


class TradesRequest(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    rows: list[msgspec.Raw]


class FillRequest(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    quantity: int
    price: Decimal


class UnitsRequest(msgspec.Struct, forbid_unknown_fields=True):
    symbol: str
    quantity: int  # negative: out of the account, or released
    price: Decimal = Decimal(0)  # what units that arrive are said to have cost


class TransferRequest(UnitsRequest):
    settles_on: date | None = None  # until 08:00 of that day the units are shown as being transferred


class OrderKey(msgspec.Struct):
    groww_order_id: str = ""
    segment: str | None = None


def _decode(body: bytes, wanted: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body, type=wanted)
    except msgspec.MsgspecError as e:
        raise InvalidInput(f"The body does not fit: {e}") from e


def state(sim: "Simulator") -> dict[str, Any]:
    world = sim.world
    now = world.clock.now().astimezone(IST)
    return {
        "url": sim.url,
        "control_url": sim.control_url,
        "at": now.isoformat(timespec="seconds"),
        "date": now.date().isoformat(),
        "is_trading_day": now.date() in world.market.days,
        "ticking": world.is_ticking,
        "opened_on": world.opened_on.isoformat(),
        "accounts": sim.logins(),
    }


def move_clock(sim: "Simulator", body: bytes) -> Any:
    request = _decode(body, ClockRequest)
    if request.at is not None:
        sim.world.set_clock(request.at)
    if request.ticking is not None:
        sim.world.set_ticking(ticking=request.ticking)
    return {name: value for name, value in state(sim).items() if name in {"at", "date", "is_trading_day", "ticking"}}


def approve(sim: "Simulator", body: bytes) -> Any:
    sim.tokens.approve(_decode(body, KeyRequest).api_key)
    return {"approved": True}


def token(sim: "Simulator", body: bytes) -> Any:
    """An access token as the owner would copy it from the web page."""
    login = sim.world.login(_decode(body, AccountRequest).account)
    return sim.tokens.issue(login.number)


def add_faults(sim: "Simulator", body: bytes) -> Any:
    """One fault or a list of them."""
    faults = _decode(body, list[Fault]) if body.lstrip().startswith(b"[") else [_decode(body, Fault)]
    for fault in faults:
        sim.add_fault(fault)
    return {"waiting": len(sim.faults.waiting)}


def clear_faults(sim: "Simulator", _: bytes) -> Any:
    sim.faults.waiting.clear()
    return {"waiting": 0}


def change_quirks(sim: "Simulator", body: bytes) -> Any:
    """Change some habits of the server while it runs."""
    known = msgspec.to_builtins(sim.world.quirks)
    wanted = _decode(body, dict[str, Any])
    unknown = wanted.keys() - known.keys()
    if unknown:
        raise InvalidInput(f"No such quirk: {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    sim.world.quirks = msgspec.convert(known | wanted, Quirks)
    return msgspec.to_builtins(sim.world.quirks)


def requests(sim: "Simulator", _: bytes) -> Any:
    return {"count": len(sim.requests), "by_path": sim.requests_by_path(), "requests": list(sim.requests)}


def clear_requests(sim: "Simulator", _: bytes) -> Any:
    sim.requests.clear()
    return {"count": 0}


def put_holdings(account: Account, body: bytes) -> None:
    account.answers.holdings = _rows_answer("holdings", body)


def put_positions(account: Account, body: bytes) -> None:
    account.answers.positions = _rows_answer("positions", body)


def put_margins(account: Account, body: bytes) -> None:
    account.answers.margins = enveloped(bytes(_decode(body, msgspec.Raw)))


def put_orders(account: Account, body: bytes) -> None:
    found = []
    for row in _decode(body, RowsRequest).rows:
        key = msgspec.json.decode(row, type=OrderKey)
        found.append((key.groww_order_id, key.segment or "CASH", bytes(row)))
    account.answers.orders = found


def put_trades(account: Account, body: bytes) -> None:
    request = _decode(body, TradesRequest)
    account.answers.trades[request.order_id] = [bytes(row) for row in request.rows]


def fill_order(account: Account, body: bytes) -> None:
    """The exchange fills some units of a working order, whatever the market says."""
    request = _decode(body, FillRequest)
    order = account.orders.get(request.order_id)
    if order is None or not order.is_working:
        raise NotFound(f"There is no working order {request.order_id}.")
    desk.fill(account, order, request.quantity, request.price, account.now)
    account.forget_answers()


def transfer(account: Account, body: bytes) -> None:
    """Units arrive from another demat account or leave for one, without any order: at once, or on a later day."""
    request = _decode(body, TransferRequest)
    stock = account.instruments.stock(request.symbol, date_of(account.now))
    if stock is None:
        raise NotFound(f"There is no stock {request.symbol}.")
    held = account.holdings.get(stock.isin) or Holding(isin=stock.isin, symbol=stock.symbol, free=0)
    if held.free + request.quantity < held.pledged:
        raise InvalidInput(f"Only {held.free - held.pledged} units of {request.symbol} are free.")
    if request.settles_on is None:
        _move(account, held, request)
    else:
        account.holdings[stock.isin] = replace(held, moving=held.moving + abs(request.quantity))
        account.plan(wall_at(request.settles_on, 8), lambda _: _settle(account, stock.isin, request))
    account.forget_answers()


def _settle(account: Account, isin: str, request: UnitsRequest) -> None:
    held = account.holdings[isin]
    _move(account, replace(held, moving=held.moving - abs(request.quantity)), request)


def _move(account: Account, held: Holding, request: UnitsRequest) -> None:
    price = request.price if request.quantity > 0 else held.average_price
    after = replace(held, free=held.free + request.quantity, cost=held.cost + price * request.quantity)
    account.holdings[held.isin] = after
    if not (after.quantity or after.pending or after.moving):
        del account.holdings[held.isin]


def pledge(account: Account, body: bytes) -> None:
    """Units are pledged, or released."""
    request = _decode(body, UnitsRequest)
    for isin, held in account.holdings.items():
        if held.symbol == request.symbol and 0 <= held.pledged + request.quantity <= held.free:
            account.holdings[isin] = replace(held, pledged=held.pledged + request.quantity)
            account.forget_answers()
            return
    raise InvalidInput(f"There are not so many units of {request.symbol} to pledge or release.")


def clear_answers(account: Account, _: bytes) -> None:
    account.answers = Answers()


def _rows_answer(name: str, body: bytes) -> bytes:
    return enveloped(rows(name, [bytes(row) for row in _decode(body, RowsRequest).rows]))


COMMANDS: dict[tuple[str, str], Callable[["Simulator", bytes], Any]] = {
    ("GET", "state"): lambda sim, _: state(sim),
    ("POST", "clock"): move_clock,
    ("POST", "approve"): approve,
    ("POST", "token"): token,
    ("POST", "faults"): add_faults,
    ("DELETE", "faults"): clear_faults,
    ("POST", "quirks"): change_quirks,
    ("GET", "requests"): requests,
    ("DELETE", "requests"): clear_requests,
}

ACCOUNT_COMMANDS: dict[tuple[str, str], Callable[[Account, bytes], None]] = {
    ("POST", "holdings"): put_holdings,
    ("POST", "positions"): put_positions,
    ("POST", "margins"): put_margins,
    ("POST", "orders"): put_orders,
    ("POST", "trades"): put_trades,
    ("POST", "fill"): fill_order,
    ("POST", "transfer"): transfer,
    ("POST", "pledge"): pledge,
    ("DELETE", "answers"): clear_answers,
}


def answer(sim: "Simulator", method: str, path: str, body: bytes) -> Answer:
    """Answer `/_sim/…`; wrong use is a 400 that says what is wrong."""
    try:
        return bare(_run(sim, method, path.removeprefix("/_sim/").rstrip("/"), body))
    except Refusal as e:
        return e.answer
    except NotFound as e:
        return bare({"error": e.message}, 404)
    except InvalidInput as e:
        return bare({"error": e.message}, 400)


def _run(sim: "Simulator", method: str, name: str, body: bytes) -> Any:
    command = COMMANDS.get((method, name))
    if command is not None:
        return command(sim, body)
    match name.split("/"):
        case ["accounts", number, what] if number.isdecimal() and (method, what) in ACCOUNT_COMMANDS:
            ACCOUNT_COMMANDS[(method, what)](sim.world.account(int(number)), body)
            return {"done": True}
    raise NotFound(f"There is no control call {method} /_sim/{name}.")
