"""A small HTTP server that answers exactly the bytes a test tells it to."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Any]

TOKEN = "tok-1-shown-nowhere"
KEY = "key-shown-nowhere"
SECRET = "secret-shown-nowhere"
TOTP_SECRET = "JBSWY3DPEHPK3PXP"


class Scripted:
    """Answers by path: a handler, a payload (put into the envelope), or a response. Keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.tokens = 0
        self.url = ""
        self.date = ""  # of every answer, as in HTTP; empty is no date at all
        self.on("/token/api/access", self.mint)
        self.on("/user/detail", {"ucc": "900001", "vendor_user_id": "v-1", "active_segments": ["CASH", "FNO"]})
        self.on("/holdings/user", {"holdings": []})
        self.on("/positions/user", {"positions": []})
        self.on("/order/list", {"order_list": []})
        self.on("/margins/detail/user", {"clear_cash": 100.5})
        self.on("/live-data/ltp", {})

    def on(self, path: str, answer: Any) -> None:
        self.answers[path] = answer

    def count(self, path: str) -> int:
        return sum(request.path == "/v1" + path for request in self.asked)

    def queries(self, path: str) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.asked if request.path == "/v1" + path]

    def mint(self, request: web.Request) -> web.Response:
        self.tokens += 1
        token = TOKEN.replace("1", str(self.tokens))
        return web.json_response({"token": token, "expiry": "2026-04-25T06:00:00", "isActive": True})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        response = await self.response(request)
        if not response.prepared:
            response.headers.setdefault("Date", self.date)
        return response

    async def response(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        path = request.path.removeprefix("/v1")
        answer = self.answers.get(path)
        if answer is None:
            answer = next((a for p, a in self.answers.items() if p.endswith("/") and path.startswith(p)), None)
        if callable(answer):
            answer = answer(request)
            if isinstance(answer, Awaitable):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return failure(404, "GA004", "no such thing")
        return web.json_response({"status": "SUCCESS", "payload": answer})


def failure(status: int, code: str, message: str = "no") -> web.Response:
    return web.json_response({"status": "FAILURE", "error": {"code": code, "message": message}}, status=status)


def raw(body: str | bytes, status: int = 200, **headers: str) -> web.Response:
    data = body.encode() if isinstance(body, str) else body
    return web.Response(body=data, status=status, headers={"Content-Type": "application/json", **headers})


def in_turn(*answers: Any) -> Handler:
    """Each call gets the next answer, the last one for ever."""
    left = list(answers)

    def handler(request: web.Request) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(request) if callable(answer) else _again(answer)

    return handler


def _again(answer: Any) -> Any:
    """A response can be sent once only."""
    if isinstance(answer, web.Response):
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Length"}
        return web.Response(body=answer.body, status=answer.status, headers=headers)
    return json.loads(json.dumps(answer))


def always(answer: web.Response) -> Handler:
    return in_turn(answer)


def an_order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "groww_order_id": f"GMK{number:05d}",
        "trading_symbol": "INFY",
        "order_status": "EXECUTED",
        "remark": "",
        "quantity": 10,
        "price": 410.5,
        "trigger_price": None,
        "filled_quantity": 10,
        "remaining_quantity": 0,
        "average_fill_price": 410.45,
        "deliverable_quantity": 10,
        "amo_status": "NA",
        "validity": "DAY",
        "exchange": "NSE",
        "order_type": "LIMIT",
        "transaction_type": "BUY",
        "segment": "CASH",
        "product": "CNC",
        "created_at": "2026-04-24T10:15:30",
        "exchange_time": "2026-04-24T10:15:31",
        "trade_date": "2026-04-24T00:00:00",
        "order_reference_id": f"ps-{number:08d}",
    } | changes


def a_holding(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "isin": f"INE{number:06d}011",
        "trading_symbol": f"SYM{number}",
        "quantity": 7,
        "average_price": 412.35,
        "pledge_quantity": 0.0,
        "demat_locked_quantity": 0.0,
        "groww_locked_quantity": 0.0,
        "repledge_quantity": 0.0,
        "t1_quantity": 1.0,
        "demat_free_quantity": 6.0,
        "corporate_action_additional_quantity": 0,
        "active_demat_transfer_quantity": 0,
        "tradable_exchanges": ["NSE", "BSE"],
    } | changes


def a_position(**changes: Any) -> dict[str, Any]:
    return {
        "trading_symbol": "INFY",
        "segment": "CASH",
        "credit_quantity": 10,
        "credit_price": 410.5,
        "debit_quantity": 4,
        "debit_price": 415.0,
        "carry_forward_credit_quantity": 0,
        "carry_forward_credit_price": 0,
        "carry_forward_debit_quantity": 0,
        "carry_forward_debit_price": 0,
        "exchange": "NSE",
        "symbol_isin": "INE009A01021",
        "quantity": 6,
        "product": "CNC",
        "net_carry_forward_quantity": 0,
        "net_price": 407.5,
        "net_carry_forward_price": 0,
        "realised_pnl": 18,
    } | changes


def a_trade(order: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "price": 410.45,
        "isin": "INE009A01021",
        "quantity": 10,
        "groww_order_id": order,
        "groww_trade_id": f"GTR{number:04d}",
        "exchange_trade_id": f"5001{number:04d}",
        "exchange_order_id": "1100000099999999",
        "trade_status": "EXECUTED",
        "trading_symbol": "INFY",
        "remark": None,
        "exchange": "NSE",
        "segment": "CASH",
        "product": "CNC",
        "transaction_type": "BUY",
        "created_at": "2026-04-24T10:15:31",
        "trade_date_time": "2026-04-24T10:15:31",
        "settlement_number": "2026222",
    } | changes


def paged(orders: list[dict[str, Any]], cap: int = 100) -> Handler:
    """An order list with pages; `segment` is optional."""

    def handler(request: web.Request) -> Any:
        size = min(int(request.query.get("page_size", "25")), cap)
        start = int(request.query.get("page", "0")) * size
        of = request.query.get("segment")
        rows = [order for order in orders if of in {None, order["segment"]}]
        return {"order_list": rows[start : start + size]}

    return handler
