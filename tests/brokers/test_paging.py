"""Order lists, positions and trades that come in pages, out of order, or never end."""

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.domain.records import Outcome
from tests.scale import scaled

from .conftest import Account
from .scripted import Scripted, a_position, a_trade, always, an_order, failure, in_turn, paged, raw

LIST = "/order/list"


def ids(statement: Any) -> set[str]:
    return {order.broker_order_id for order in statement.orders}


def many(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [an_order(number, **changes) for number in range(count)]


def outcome(statement: Any, section: str = "orders:CASH") -> Outcome:
    return statement.sections[section].outcome


async def test_sixty_orders_behind_a_cap_of_25(account: Account, server: Scripted) -> None:
    server.on(LIST, paged(many(60), cap=25))
    statement = await account.book()
    assert (len(ids(statement)), outcome(statement)) == (60, Outcome.OK)
    assert server.count(LIST) == 8  # twice three pages and an empty one
    assert all(query["page_size"] == "100" and "segment" not in query for query in server.queries(LIST))


@pytest.mark.parametrize(("orders", "calls"), [(0, 1), (1, 2), (99, 2), (100, 2), (101, 6), (200, 6)])
async def test_a_full_last_page_is_not_the_end(account: Account, server: Scripted, orders: int, calls: int) -> None:
    server.on(LIST, paged(many(orders)))
    statement = await account.book()
    assert (len(ids(statement)), outcome(statement), server.count(LIST)) == (orders, Outcome.OK, calls)


async def test_a_server_that_ignores_page_is_read_segment_by_segment(account: Account, server: Scripted) -> None:
    both = [*many(10), an_order(50, segment="FNO")]

    def ignores_page_without_segment(request: web.Request) -> Any:
        return paged(both)(request) if "segment" in request.query else {"order_list": both}

    server.on(LIST, ignores_page_without_segment)
    statement = await account.book()
    assert len(ids(statement)) == 11
    assert outcome(statement) is outcome(statement, "orders:FNO") is Outcome.OK
    assert [query.get("segment") for query in server.queries(LIST)].count(None) == 2


async def test_a_page_repeated_for_ever_is_kept_but_not_believed_complete(account: Account, server: Scripted) -> None:
    server.on(LIST, {"order_list": many(25)})
    statement = await account.book()
    assert len(ids(statement)) == 25
    assert outcome(statement) is Outcome.UNSTABLE
    server.on(LIST, {"order_list": many(24)})  # below every known cap: there is no more
    assert outcome(await account.book()) is Outcome.OK


async def test_pages_without_end_fail_their_section_only(account: Account, server: Scripted) -> None:
    numbers = iter(range(10**6))
    server.on(LIST, lambda _: {"order_list": [an_order(next(numbers))]})
    statement = await account.book()
    assert outcome(statement) is Outcome.FAILED
    assert "paging runaway" in statement.sections["orders:CASH"].reason
    assert statement.orders == ()
    assert statement.sections["holdings"].outcome is Outcome.OK
    assert server.count(LIST) == 40


async def test_orders_without_segment_take_that_of_the_question(account: Account, server: Scripted) -> None:
    orders = {"CASH": many(2), "FNO": [an_order(9)]}

    def nameless(request: web.Request) -> Any:
        of = request.query.get("segment")
        rows = [*orders["CASH"], *orders["FNO"]] if of is None else orders[of]
        return {"order_list": [] if request.query["page"] != "0" else [row | {"segment": None} for row in rows]}

    server.on(LIST, nameless)
    statement = await account.book()
    assert sorted((o.broker_order_id, o.segment) for o in statement.orders) == [
        ("GMK00000", "CASH"), ("GMK00001", "CASH"), ("GMK00009", "FNO"),
    ]  # fmt: skip
    assert statement.quarantined == ()


async def test_no_order_is_lost_while_the_pages_shift(
    account: Account, server: Scripted, tell: Callable[[str, object], None]
) -> None:
    """What stood in the list when its last reading began is there, or the list is marked; each seed shifts another way.

    What is placed later was not there yet: the next reading of the day has it.
    """
    outcomes = Counter[str]()
    for seed in range(scaled(2000, 66)):
        book = Shifting(seed)
        server.on(LIST, book)
        statement = await account.book()
        settled = outcome(statement) is Outcome.OK
        assert settled or outcome(statement) is Outcome.UNSTABLE, f"seed {seed}"
        if settled:
            assert book.stood <= ids(statement) <= book.ids(), f"seed {seed}"
        outcomes["settled" if settled else "marked"] += 1
    tell("T32 orders change between pages", f"{dict(outcomes)}, lost 0")
    assert outcomes["marked"] <= outcomes.total() // 20


class Shifting:
    """A list of three pages, sorted by the last change, that changes up to three times while it is read."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._orders = many(30)
        self._changes = self._chance.randrange(1, 4)
        self.stood: set[str] = set()  # when the newest reading of the list began

    def ids(self) -> set[str]:
        return {order["groww_order_id"] for order in self._orders}

    def __call__(self, request: web.Request) -> Any:
        if self._changes and self._chance.random() < 0.5:
            self._changes -= 1
            touched = self._orders.pop(self._chance.randrange(len(self._orders)))
            self._orders.insert(0, touched | {"price": self._chance.randrange(1, 99)})
            if self._chance.random() < 0.3:
                self._orders.insert(0, an_order(100 + self._changes))
        if request.query["page"] == "0":
            self.stood = self.ids()
        return paged(self._orders, cap=10)(request)


async def test_a_list_that_never_settles_is_marked(account: Account, server: Scripted) -> None:
    prices = iter(range(1, 1000))

    def restless(request: web.Request) -> Any:
        return paged([order | {"price": next(prices)} for order in many(30)], cap=25)(request)

    server.on(LIST, restless)
    statement = await account.book()
    assert outcome(statement) is Outcome.UNSTABLE
    assert len(ids(statement)) == 30


async def test_the_same_order_twice_is_one(account: Account, server: Scripted) -> None:
    server.on(LIST, in_turn({"order_list": [an_order(1), an_order(1)]}, {"order_list": []}))
    statement = await account.book()
    assert len(statement.orders) == 1
    assert statement.flags == ()
    assert server.count("/order/detail/GMK00001") == 0


async def test_of_two_versions_the_fuller_wins_and_is_flagged(account: Account, server: Scripted) -> None:
    half = an_order(1, filled_quantity=5, order_status="OPEN")
    less = an_order(1, filled_quantity=4, order_status="OPEN")
    server.on(LIST, in_turn({"order_list": [half, less]}, {"order_list": []}))
    server.on("/order/detail/GMK00001", an_order(1, filled_quantity=7, order_status="OPEN"))
    [order] = (await account.book()).orders
    assert order.filled_quantity == 7
    assert "broker_order_id:two versions" in order.flags
    assert server.queries("/order/detail/GMK00001") == [{"segment": "CASH"}]

    server.on(LIST, in_turn({"order_list": [half, less]}, {"order_list": []}))
    server.on("/order/detail/GMK00001", always(failure(404, "GA004")))
    [order] = (await account.book()).orders
    assert order.filled_quantity == 5


async def test_one_id_for_two_orders_is_merged_by_nobody(account: Account, server: Scripted) -> None:
    server.on(LIST, in_turn({"order_list": [an_order(1), an_order(1, trading_symbol="TCS")]}, {"order_list": []}))
    server.on("/order/detail/GMK00001", an_order(1))
    statement = await account.book()
    assert statement.orders == ()
    assert statement.quarantined[0]["record"] == "GMK00001"
    assert outcome(statement) is Outcome.UNSTABLE


# --- Which sections --------------------------------------------------------------------------------------------------


async def test_only_what_is_missing_is_read_again_and_the_owner_always(account: Account, server: Scripted) -> None:
    statement = await account.book(["orders:FNO", "margin"])
    assert set(statement.sections) == {"owner", "orders:FNO", "margin"}
    assert server.queries(LIST) == [{"segment": "FNO", "page": "0", "page_size": "100"}]
    assert server.count("/holdings/user") == 0
    assert set((await account.book(["positions", "orders"])).sections) == {
        "owner", "positions:CASH", "positions:FNO", "orders:CASH", "orders:FNO",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/user/detail", "/holdings/user", "/positions/user", LIST, "/margins/detail/user"])
@pytest.mark.parametrize(
    "trouble", [raw("<html>", 502), failure(404, "GA004"), raw('{"payload": 5}'), raw('{"payload": [1, 2]}')]
)
async def test_a_section_that_fails_stops_no_other(
    account: Account, server: Scripted, path: str, trouble: web.Response
) -> None:
    server.on(path, always(trouble))
    fetched = await account.do("fetch_book")
    statement = account.parse(fetched)
    failed = {name for name, result in statement.sections.items() if result.outcome is not Outcome.OK}
    assert {name.partition(":")[0] for name in failed} == {
        {"/user/detail": "owner", LIST: "orders"}.get(path, path.split("/")[1].replace("margins", "margin"))
    }
    for name in failed:
        assert statement.sections[name].outcome is Outcome.FAILED
        assert statement.sections[name].error in {"BrokerUnavailable", "BrokerRefused", "BrokerAnswerUnknown"}
    assert any(answer.body == trouble.body for answer in fetched.answers)  # kept, to see what went wrong


# --- Positions -------------------------------------------------------------------------------------------------------


async def test_positions_without_segment_are_asked_for_segment_by_segment(account: Account, server: Scripted) -> None:
    rows = {"CASH": [a_position()], "FNO": [a_position(trading_symbol="NIFTY26APRFUT", product="NRML")]}

    def nameless(request: web.Request) -> Any:
        of = request.query.get("segment")
        wanted = [*rows["CASH"], *rows["FNO"]] if of is None else rows[of]
        return {"positions": [{k: v for k, v in row.items() if k != "segment"} for row in wanted]}

    server.on("/positions/user", nameless)
    statement = await account.book()
    assert [position.key[0::2] for position in statement.positions] == [("CASH", "INFY"), ("FNO", "NIFTY26APRFUT")]
    assert server.queries("/positions/user") == [{}, {"segment": "CASH"}, {"segment": "FNO"}]


# --- Fills -----------------------------------------------------------------------------------------------------------


async def fills_of(account: Account, server: Scripted, *orders: dict[str, Any]) -> Any:
    server.on(LIST, in_turn({"order_list": list(orders)}, {"order_list": []}))
    book = await account.book()
    return account.parse(await account.do("fetch_fills", book.orders))


async def test_trades_are_paged_until_no_new_one_comes(account: Account, server: Scripted) -> None:
    trades = [a_trade("GMK00001", number, quantity=1) for number in range(60)]

    def pages(request: web.Request) -> Any:
        start = int(request.query["page"]) * 25
        return {"trade_list": trades[start : start + 25]}

    server.on("/order/trades/", pages)
    statement = await fills_of(account, server, an_order(1, quantity=60, filled_quantity=60))
    assert sum(fill.quantity for fill in statement.fills) == 60
    assert server.count("/order/trades/GMK00001") == 3  # the third completes the sum
    server.asked.clear()
    await fills_of(account, server, an_order(1, quantity=99, filled_quantity=99))
    assert server.count("/order/trades/GMK00001") == 4  # an empty page proves that there is no more


async def test_an_order_without_trades_gives_one_synthetic_fill(account: Account, server: Scripted) -> None:
    server.on("/order/trades/", always(failure(404, "GA004")))
    order = an_order(1, segment="FNO", trading_symbol="NIFTY26APR25000CE", filled_quantity=6, average_fill_price=101.35)
    statement = await fills_of(account, server, order, an_order(2, filled_quantity=0))
    [fill] = statement.fills
    assert (fill.broker_order_id, fill.quantity, fill.price, fill.side) == ("GMK00001", 6, Decimal("101.35"), "BUY")
    assert (fill.synthetic, fill.segment, fill.broker_trade_id) == (True, "FNO", "synthetic:6")
    assert statement.sections["fills"].outcome is Outcome.OK
    assert server.count("/order/trades/GMK00002") == 0


async def test_a_synthetic_fill_is_not_made_up_without_a_price(account: Account, server: Scripted) -> None:
    server.on("/order/trades/", always(failure(404, "GA004")))
    statement = await fills_of(account, server, an_order(1, average_fill_price=0))
    assert statement.fills == ()
    assert statement.sections["fills"].outcome is Outcome.UNSTABLE


async def test_one_order_whose_fills_fail_leaves_the_others(account: Account, server: Scripted) -> None:
    server.on("/order/trades/GMK00001", {"trade_list": [a_trade("GMK00001", 1)]})
    server.on("/order/trades/GMK00002", always(raw("<html>", 502)))
    statement = await fills_of(account, server, an_order(1), an_order(2))
    assert len(statement.fills) == 1
    assert statement.sections["fills"].outcome is Outcome.UNSTABLE
    assert "1 of 2" in statement.sections["fills"].reason


async def test_a_dead_service_is_not_asked_for_every_order(account: Account, server: Scripted) -> None:
    server.on("/order/trades/", always(raw("<html>", 502)))
    statement = await fills_of(account, server, *many(40))
    assert statement.sections["fills"].outcome is Outcome.FAILED
    assert len([request for request in server.asked if "trades" in request.path]) <= 5 * (5 + 4)
