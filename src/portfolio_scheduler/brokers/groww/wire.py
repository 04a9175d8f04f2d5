"""Groww's answers as they come over the wire: reading JSON safely, telling good answers from bad, and their shapes.

Shared by the client (which needs ids and pages) and by `parse.py` (which makes records). Nothing here does I/O.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerError,
    BrokerLoginRequired,
    BrokerNotEntitled,
    BrokerRefused,
    BrokerThrottled,
    BrokerUnavailable,
)

MAX_DEPTH = 32
TRANSIENT_CODES = frozenset({"GA000", "GA003", "500", "502", "503", "504"})
NOT_FOUND_CODES = frozenset({"GA004", "404"})

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, ArithmeticError)

_PLAIN = bytes(set(range(256)) - set(b'[]{}"\\'))
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATES = re.compile(
    rb"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
NUL_ESCAPE = rb"\u0000"


def readable(body: bytes) -> bytes:
    """The body, fit for decoding: not nested too deep, and with lone surrogates turned into NUL.

    Both are refused later, record by record; a lone surrogate would otherwise make the whole list unreadable.
    """
    if _is_too_deep(body):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if b"\\ud" in body or b"\\uD" in body:
        return _SURROGATES.sub(lambda found: NUL_ESCAPE if found["lone"] else found[0], body)
    return body


def _is_too_deep(body: bytes) -> bool:
    """Whether brackets nest deeper than `MAX_DEPTH`. Works on what is left of the body without its plain text."""
    marks = body.translate(_AS_BRACKETS, _PLAIN).replace(b'""', b"")
    if b'"' in marks or b"\\" in marks:  # brackets or escapes inside strings: look closely
        marks = _STRING.sub(b"", body).translate(_AS_BRACKETS, _PLAIN)
    for _ in range(MAX_DEPTH):
        if not marks:
            return False
        marks = marks.replace(b"[]", b"")  # takes the innermost level away
    return bool(marks)


# --- What is wrong with an answer ------------------------------------------------------------------------------------


class _Head(Struct):
    """The envelope of every answer but the bare ones, and the body of the gateway in front of it."""

    status: Any = None
    payload: Raw | UnsetType = UNSET
    error: Any = None
    errorCode: Any = None  # noqa: N815
    errorMessage: Any = None  # noqa: N815


_head = msgspec.json.Decoder(_Head)


def read_fault(body: bytes) -> tuple[str | None, str]:
    """Code and message of a failure in either of Groww's two forms; (None, "") when there is none to read."""
    try:
        head = _head.decode(readable(body))
    except UNREADABLE:
        return None, ""
    error = head.error if isinstance(head.error, dict) else {}
    code, message = error.get("code"), error.get("message")
    if head.errorCode is not None:
        code = head.errorCode
        message = head.errorMessage.get("message") if isinstance(head.errorMessage, dict) else head.errorMessage
    if code is None and head.status == "FAILURE":
        code = "FAILURE"
    return (None if code is None else str(code)[:40]), str(message or "")


def judge(status: int, body: bytes, call: str) -> BrokerError | None:
    """What is wrong with an answer. A FAILURE can come with HTTP 200, a code can be an HTTP status in words."""
    if 200 <= status < 300:
        try:
            head = _head.decode(readable(body))
        except UNREADABLE:
            return _no_json(status, body, call)
        if head.status != "FAILURE" and head.errorCode is None and head.error is None:
            if head.payload is UNSET or bytes(head.payload) == b"null":
                return BrokerAnswerUnknown(f"Groww's answer to {call} holds no payload.", call=call, status=status)
            return None
    code = read_fault(body)[0]
    if status == 429 or code == "429":
        return BrokerThrottled(f"Groww asks us to slow down ({call}).", call=call, status=status)
    if status >= 500 or status == 408 or code in TRANSIENT_CODES:
        return BrokerUnavailable(f"Groww answered {call} with HTTP {status}.", call=call, status=status)
    if status == 401 or code == "401":
        return BrokerLoginRequired("Groww does not accept the access token.", call=call, status=status)
    if status == 403 or code in {"403", "GA005"}:
        return BrokerNotEntitled(
            f"Groww does not let this account read {call} (HTTP {status}).", call=call, status=status
        )
    return BrokerRefused(
        f"Groww refused {call}: HTTP {status}, code {_word(code)}.", call=call, status=status, code=code
    )


def _no_json(status: int, body: bytes, call: str) -> BrokerError:
    """A page or half an answer may be whole next time; whole JSON that we cannot read will not."""
    text = body.strip()
    if text.startswith(b"{") and text.endswith(b"}"):
        return BrokerAnswerUnknown(f"Groww's answer to {call} is no valid JSON.", call=call, status=status)
    return BrokerUnavailable(f"Groww answered {call} with something that is no JSON.", call=call, status=status)


def _word(code: str | None) -> str:
    """A code fit for a message: nothing but letters and digits gets through."""
    return code if code is not None and code.isascii() and code.isalnum() and len(code) <= 12 else "unknown"


# --- Shapes ----------------------------------------------------------------------------------------------------------
# Numbers and times are `Any`: their text is checked one by one in `parse.py`, so that one bad value costs one record.

Text = str | None


class GrowwOwner(Struct):
    ucc: Text = None
    vendor_user_id: Text = None
    active_segments: list[str] | None = None


class GrowwHolding(Struct):
    isin: Text = None
    trading_symbol: Text = None
    quantity: Any = None
    average_price: Any = None
    pledge_quantity: Any = None
    demat_locked_quantity: Any = None
    groww_locked_quantity: Any = None
    repledge_quantity: Any = None
    t1_quantity: Any = None
    demat_free_quantity: Any = None
    corporate_action_additional_quantity: Any = None
    active_demat_transfer_quantity: Any = None
    tradable_exchanges: list[str] | None = None


class GrowwPosition(Struct):
    trading_symbol: Text = None
    segment: Text = None
    exchange: Text = None
    product: Text = None
    symbol_isin: Text = None
    quantity: Any = None
    credit_quantity: Any = None
    credit_price: Any = None
    debit_quantity: Any = None
    debit_price: Any = None
    carry_forward_credit_quantity: Any = None
    carry_forward_credit_price: Any = None
    carry_forward_debit_quantity: Any = None
    carry_forward_debit_price: Any = None
    net_carry_forward_quantity: Any = None
    net_carry_forward_price: Any = None
    net_price: Any = None
    realised_pnl: Any = None


class GrowwOrder(Struct):
    groww_order_id: Text = None
    trading_symbol: Text = None
    order_status: Text = None
    remark: Text = None
    quantity: Any = None
    price: Any = None
    trigger_price: Any = None
    filled_quantity: Any = None
    remaining_quantity: Any = None
    average_fill_price: Any = None
    deliverable_quantity: Any = None
    amo_status: Text = None
    validity: Text = None
    exchange: Text = None
    order_type: Text = None
    transaction_type: Text = None
    segment: Text = None
    product: Text = None
    created_at: Any = None
    exchange_time: Any = None
    trade_date: Any = None
    order_reference_id: Text = None


class GrowwTrade(Struct):
    groww_trade_id: Text = None
    exchange_trade_id: Text = None
    groww_order_id: Text = None
    exchange_order_id: Text = None
    price: Any = None
    quantity: Any = None
    isin: Text = None
    trade_status: Text = None
    trading_symbol: Text = None
    remark: Text = None
    exchange: Text = None
    segment: Text = None
    product: Text = None
    transaction_type: Text = None
    created_at: Any = None
    trade_date_time: Any = None
    settlement_number: Text = None


class GrowwMargin(Struct):
    clear_cash: Any = None
    net_margin_used: Any = None
    brokerage_and_charges: Any = None
    collateral_used: Any = None
    collateral_available: Any = None
    adhoc_margin: Any = None


class OrderKey(Struct):
    """What paging needs of an order: two scans agree when all of it is the same."""

    groww_order_id: Text = None
    order_status: Text = None
    filled_quantity: Any = None
    quantity: Any = None
    price: Any = None
    trigger_price: Any = None
    segment: Text = None


class TradeKey(Struct):
    groww_trade_id: Text = None
    exchange_trade_id: Text = None
    quantity: Any = None


# --- Records: fast when clean, one by one when not -------------------------------------------------------------------

Row = TypeVar("Row", bound=Struct)


class _Payload(Struct, Generic[Row]):
    payload: Row


class _RawPayload(Struct):
    payload: Raw


class _Prices(Struct):
    payload: dict[str, Any]


class OddNumber:
    """A number that no `Decimal` can hold; refused like any other bad value, where it stands."""


def _number(text: str) -> Any:
    try:
        return Decimal(text)
    except ArithmeticError:
        return OddNumber()


_raw_payload = msgspec.json.Decoder(_RawPayload)
_raw_object = msgspec.json.Decoder(dict[str, Raw])
_raw_list = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Any], float_hook=_number)
_prices = msgspec.json.Decoder(_Prices, float_hook=_number)


class Rows(Struct, Generic[Row]):
    """The records of an answer, how many cannot be read at all, and the keys that came twice in one record."""

    good: list[tuple[Row, tuple[str, ...]]]  # with the fields that were dropped because what they hold is odd
    bad: int = 0
    twice: tuple[str, ...] = ()


class Shape(Generic[Row]):
    """Reads answers whose payload is one record, or a list of records under `key`."""

    def __init__(self, kind: type[Row], key: str | None = None) -> None:
        self._kind = kind
        self._key = key
        self._texts = {field.name for field in msgspec.structs.fields(kind) if field.type == Text}
        self._lists = {field.name for field in msgspec.structs.fields(kind) if field.type == list[str] | None}
        self._quoted = [f'"{name}"'.encode() for name in kind.__struct_fields__]
        payload: Any = kind if key is None else msgspec.defstruct("_Rows", [(key, list[kind])])  # type: ignore[valid-type]
        self._all: Any = msgspec.json.Decoder(_Payload[payload], float_hook=_number)

    def rows(self, body: bytes) -> Rows[Row]:
        """All records. Raises one of `UNREADABLE` when the answer as a whole is not what we know."""
        body = readable(body)
        if b"\\u" not in body:
            try:
                payload = self._all.decode(body).payload
            except msgspec.ValidationError:
                pass
            else:
                rows = [payload] if self._key is None else getattr(payload, self._key)
                # A key that stands in the body more often than there are records may have come twice in one.
                if all(body.count(name) <= len(rows) for name in self._quoted):
                    return Rows(good=[(row, ()) for row in rows])
        return self._one_by_one(body)

    def _one_by_one(self, body: bytes) -> Rows[Row]:
        raws = [_raw_payload.decode(body).payload]
        if self._key is not None:
            payload = _raw_object.decode(raws[0])
            if self._key not in payload:
                raise ValueError(f"no {self._key}")
            raws = _raw_list.decode(payload[self._key])
        rows: Rows[Row] = Rows(good=[])
        for raw in raws:
            try:
                rows.good.append(self._mended(_object.decode(raw)))
                rows.twice += _repeated_keys(bytes(raw))
            except UNREADABLE:
                rows.bad += 1
        if self._key is None and rows.bad:
            raise ValueError("not a record")
        return rows

    def _mended(self, fields: Mapping[str, Any]) -> tuple[Row, tuple[str, ...]]:
        """The record without the fields that hold something else than they should, and their names."""
        kept = {name: fields[name] for name in self._kind.__struct_fields__ if name in fields}
        dropped = []
        for name, value in kept.items():
            if name in self._texts:
                if isinstance(value, int | Decimal) and not isinstance(value, bool):
                    kept[name] = str(value)  # a number that lost its quotes
                elif not _is_text(value) and value is not None:
                    dropped.append(name)
            elif name in self._lists:
                if value is not None and not (isinstance(value, list) and all(map(_is_text, value))):
                    dropped.append(name)
            elif isinstance(value, str) and not _is_text(value):
                dropped.append(name)
        for name in dropped:
            kept[name] = None
        return self._kind(**kept), tuple(dropped)


def _is_text(value: object) -> bool:
    """Text that PostgreSQL can hold; `readable` has turned lone surrogates into NUL."""
    return isinstance(value, str) and "\0" not in value


def _repeated_keys(text: bytes) -> tuple[str, ...]:
    """Keys that stand twice in one object; the last one wins, here as in every JSON library."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)

    json.loads(text, object_pairs_hook=note, parse_int=str, parse_float=str)
    return tuple(twice)


def read_prices(body: bytes) -> dict[str, Any]:
    """The flat map of a price answer: "NSE_INFY" → number. Raises one of `UNREADABLE`."""
    return _prices.decode(readable(body)).payload


OWNER = Shape(GrowwOwner)
HOLDINGS = Shape(GrowwHolding, "holdings")
POSITIONS = Shape(GrowwPosition, "positions")
ORDERS = Shape(GrowwOrder, "order_list")
ORDER = Shape(GrowwOrder)
TRADES = Shape(GrowwTrade, "trade_list")
MARGIN = Shape(GrowwMargin)
ORDER_KEYS = Shape(OrderKey, "order_list")
TRADE_KEYS = Shape(TradeKey, "trade_list")
