"""The whole way from a login to records, when all goes well."""

from decimal import Decimal

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.records import Fetched, Instrument, Outcome

from .conftest import TODAY, Account
from .scripted import Scripted, a_holding, a_position, a_trade, an_order, paged


async def test_a_book_has_every_section_and_record(account: Account, server: Scripted) -> None:
    server.on("/holdings/user", {"holdings": [a_holding(1), a_holding(2, quantity=2.5)]})
    server.on("/positions/user", {"positions": [a_position(), {"trading_symbol": "", "quantity": 0}]})
    server.on("/order/list", paged([an_order(1), an_order(2, segment="FNO", order_status="OPEN")]))

    statement = await account.book()

    assert statement.owner.ucc == "900001"
    assert set(statement.sections) == {
        "owner", "holdings", "positions:CASH", "positions:FNO", "orders:CASH", "orders:FNO", "margin",
    }  # fmt: skip
    assert {result.outcome for result in statement.sections.values()} == {Outcome.OK}
    assert [(h.isin, h.quantity) for h in statement.holdings] == [
        ("INE000001011", Decimal(7)),
        ("INE000002011", Decimal("2.5")),
    ]
    assert statement.positions[0].key == ("CASH", "NSE", "INFY", "CNC")
    assert [(o.broker_order_id, o.price) for o in statement.orders] == [
        ("GMK00001", Decimal("410.5")),
        ("GMK00002", Decimal("410.5")),
    ]
    assert statement.orders[0].created_at == ist(TODAY, 10, 15, 30)
    assert statement.orders[0].trade_on == TODAY
    assert statement.margin.clear_cash == Decimal("100.5")
    assert statement.margin.adhoc_margin is None
    assert statement.flags == ()
    assert set(statement.digests) == {*statement.sections, "order:GMK00001", "order:GMK00002"}


async def test_a_quiet_account_costs_seven_calls(account: Account, server: Scripted) -> None:
    server.on("/holdings/user", {"holdings": [a_holding(1)]})
    await account.book()
    assert len(server.asked) == 6  # mint, user detail, holdings, positions, one page of orders, margin


async def test_fills_and_prices(account: Account, server: Scripted) -> None:
    server.on("/order/list", paged([an_order(1)]))
    server.on("/order/trades/GMK00001", {"trade_list": [a_trade("GMK00001", 1, quantity=10)]})
    server.on("/live-data/ltp", {"NSE_INFY": 1500.05, "NSE_M&M": 3000})
    book = await account.book()

    fills = account.parse(await account.do("fetch_fills", book.orders))
    assert [(f.broker_trade_id, f.quantity, f.price, f.synthetic) for f in fills.fills] == [
        ("GTR0001", Decimal(10), Decimal("410.45"), False)
    ]
    assert set(fills.digests) == {"fills", "fills:GMK00001"}
    assert server.count("/order/trades/GMK00001") == 1  # ten of ten: no second page is needed

    instruments = [
        Instrument(key="INE009A01021", exchange="NSE", segment="CASH", trading_symbol="INFY"),
        Instrument(key="INE101A01026", exchange="", segment="CASH", trading_symbol="M&M"),
    ]
    prices = account.parse(await account.do("fetch_prices", instruments))
    assert {(p.key, p.trading_symbol, p.price, p.source, p.priced_on) for p in prices.prices} == {
        ("INE009A01021", "INFY", Decimal("1500.05"), "ltp", TODAY),
        ("INE101A01026", "M&M", Decimal(3000), "ltp", TODAY),
    }


async def test_parts_parsed_one_after_the_other_join_to_the_whole(account: Account, server: Scripted) -> None:
    """A sync understands the book before it asks for executions and prices, and does not read it twice."""
    odd = a_trade("GMK00001", 2, quantity=-1)
    server.on("/holdings/user", {"holdings": [a_holding(1), a_holding(2, quantity="odd")]})
    server.on("/order/list", paged([an_order(1, product="NEW"), an_order(2)]))
    server.on("/order/trades/GMK00001", {"trade_list": [a_trade("GMK00001", 1, quantity=10), odd]})
    server.on("/live-data/ltp", {"NSE_INFY": 1500.05})
    book = await account.do("fetch_book", None)
    said = account.parse(book)
    fills = await account.do("fetch_fills", said.orders)
    infy = Instrument(key="INE009A01021", exchange="NSE", segment="CASH", trading_symbol="INFY")
    prices = await account.do("fetch_prices", [infy])

    last = Fetched(answers=fills.answers + prices.answers, sections=fills.sections | prices.sections)
    whole = Fetched(answers=book.answers + last.answers, sections=book.sections | last.sections)

    assert account.parse(book).joined(account.parse(last)) == account.parse(whole)
    assert len(account.parse(whole).quarantined) >= 2
