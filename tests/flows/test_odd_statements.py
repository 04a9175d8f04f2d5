"""Statements as no healthy broker makes them: each is written down once, nothing is counted twice, nothing is lost."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Order, Outcome, Owner, Price
from portfolio_scheduler.errors import BrokerLoginRequired
from tests.builders import MONDAY, TUESDAY, a_fill, a_holding, a_position, a_statement, an_order, d
from tests.flows.conftest import Stage
from tests.flows.ledger_checks import check_ledger, facts_of
from tests.flows.scripted import connected, scripted, unstable

INFY = "INE009A01021"


async def test_a_retry_of_fills_alone_keeps_the_executions_it_knows(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = unstable(a_statement(orders=(order,), fills=(a_fill(4),)), "fills")
    assert (await stage.sync(account)).status == "partial"
    broker.says = a_statement(orders=(order,), fills=(a_fill(4), a_fill(6, trade="T2")))
    retried = await stage.sync(account, trigger="retry", wanted=["fills"])
    assert (retried.status, retried.counts["fills"], retried.counts["snapshots"]) == ("completed", 1, 1), retried
    await check_ledger(stage, account.id)


async def test_a_retry_of_fills_alone_says_when_they_still_do_not_add_up(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = unstable(a_statement(orders=(order,), fills=(a_fill(4),)), "fills")
    await stage.sync(account)
    broker.says = a_statement(orders=(order,), fills=(a_fill(4),))
    await stage.sync(account, trigger="retry", wanted=["fills"])
    assert await stage.rows("SELECT kind, subject FROM open_findings") == [("DISCREPANCY", "G1")]
    broker.says = a_statement(orders=(order,), fills=(a_fill(4), a_fill(6, trade="T2")))
    await stage.sync(account, trigger="retry", wanted=["fills"])
    assert await stage.rows("SELECT kind, subject FROM open_findings") == []
    await check_ledger(stage, account.id)


async def test_an_order_that_left_the_list_still_gets_its_other_executions(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = a_statement(orders=(order,), fills=(a_fill(4),))
    await stage.sync(account)
    broker.says = a_statement(fills=(a_fill(4), a_fill(6, trade="T2")))
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT fills_quantity FROM current_orders") == 10
    await check_ledger(stage, account.id)


async def test_an_account_that_names_no_segments_is_complete_only_when_all_that_was_asked_came(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    nameless = Owner(ucc="U1")
    broker.says = replace(a_statement(without=("positions:CASH",)), owner=nameless)
    first = await stage.sync(account)
    assert (first.status, first.counts["snapshots"]) == ("partial", 0)
    broker.says = replace(a_statement(), owner=nameless)
    other = await stage.sync(account, trigger="retry", wanted=["holdings"])
    assert other.counts["snapshots"] == 0
    second = await stage.sync(account, trigger="retry", wanted=["positions:CASH"])
    assert second.counts["snapshots"] == 1


async def test_two_records_that_cannot_be_used_are_two_findings_told_once(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    records = [("INE1", "quantity is missing"), ("INE2", "quantity is negative"), ("INE2", "average is odd"), ("", "?")]
    broker.says = replace(
        a_statement(),
        quarantined=tuple({"section": "holdings", "record": name, "reason": reason} for name, reason in records),
    )
    await stage.sync(account)
    assert await stage.rows("SELECT subject FROM open_findings ORDER BY 1") == [("",), ("INE1",), ("INE2",)]
    before = await facts_of(stage, account.id)
    await stage.sync(account)
    assert await facts_of(stage, account.id) == before
    await check_ledger(stage, account.id)


async def test_a_login_that_dies_after_the_book_was_read_loses_none_of_it(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))

    def dies() -> None:
        raise BrokerLoginRequired("The token died.")

    for call in ("fills", "prices"):
        order = an_order(buy=10, id=f"G-{call}").filled(10).being("EXECUTED")
        broker.says = a_statement(orders=(order,), fills=(a_fill(10, order=f"G-{call}"),))
        broker.before = {call: dies}
        report = await stage.sync(account)
        assert (report.status, report.sections[call].outcome) == ("partial", Outcome.FAILED), report
        assert report.counts["orders"] == 1
        assert await stage.one("SELECT state FROM broker_accounts") == "needs_login"
        broker.before = {}
        assert (await stage.sync(account)).status == "completed"
        assert await stage.one("SELECT state FROM broker_accounts") == "active"
    await check_ledger(stage, account.id)


async def test_another_order_under_a_known_id_lends_it_no_executions(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement(orders=(an_order("INFY", buy=10),))
    await stage.sync(account)
    broker.says = a_statement(orders=(an_order("TCS", sell=5).filled(5),), fills=(a_fill(5),))
    await stage.sync(account)
    assert await stage.rows("SELECT * FROM order_fills") == []
    assert await stage.one("SELECT fills_quantity FROM current_orders") == 0


async def test_every_field_survives_the_database(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    odd = ist(MONDAY, 10) + timedelta(microseconds=1)
    order = Order(
        broker_order_id="a'b\"c\\%s{}–अ" + "x" * 150,
        segment="NEW SEGMENT",
        exchange="",
        trading_symbol="ज़" * 60,
        product="",
        side="",
        order_type="",
        validity="",
        status="",
        amo_status="",
        quantity=d("0.000000000001"),
        filled_quantity=d("9999999999999.123456789012"),
        remaining_quantity=d(0),
        deliverable_quantity=d("-0"),
        price=d("1E-12"),
        trigger_price=d(0),
        average_fill_price=d("1.10"),
        remark="\n\t€" + "r" * 3990,
        order_reference_id="",
        created_at=odd,
        exchange_at=odd,
        trade_on=TUESDAY,
        created_raw="",
        exchange_raw="x",
        trade_raw="y",
        flags=("a:b", "", "{}", 'q"q'),
    )
    bare = replace(an_order(id="bare").order, price=None, remaining_quantity=None, created_at=None, validity=None)
    statement = a_statement(
        holdings=(a_holding(INFY, 1, exchanges=("NSE", ""), trading_symbol=""), a_holding("odd'isin", 0)),
        positions=(
            a_position("X'\"", bought="0.5", flags=("a", "b"), isin=INFY, realised_pnl=d("-1.5"), net_price=d("1E-7")),
            a_position("X'\"", product=""),
        ),
        fills=(
            a_fill(
                "0.5", "0.000001", order=order.broker_order_id, trade="T'1", traded_at=odd, traded_raw="", status=""
            ),
            a_fill(1, order=order.broker_order_id, trade="T2", isin="", remark="", flags=("x",), settlement_number="1"),
        ),
    )
    segments = {"orders:NEW SEGMENT": statement.sections["owner"]}
    statement = replace(statement, orders=(order, bare), sections=statement.sections | segments)
    broker.says = statement
    report = await stage.sync(account)
    assert report.status == "completed", report
    await check_ledger(stage, account.id)
    again = replace(order, remark=None, exchange_at=None, remaining_quantity=None, amo_status=None, status="COMPLETED")
    broker.says = replace(statement, orders=(again, bare))
    await stage.sync(account)
    await check_ledger(stage, account.id)
    before = await facts_of(stage, account.id)
    await stage.sync(account)
    assert await facts_of(stage, account.id) == before
    assert await stage.one("SELECT exchange_at FROM current_orders WHERE status = 'COMPLETED'") is None


async def test_a_reading_that_runs_into_the_next_day_belongs_to_the_next_day(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = a_statement(
        orders=(order,), fills=(a_fill(10, isin=INFY),), positions=(a_position("INFY", bought=10, isin=INFY),)
    )
    await stage.sync(account)
    stage.clock.set(ist(MONDAY, 23, 59))
    broker.before = {"book": lambda: stage.clock.set(ist(TUESDAY, 0, 1))}
    broker.says = a_statement(holdings=(a_holding(INFY, 10, trading_symbol="INFY"),))
    report = await stage.sync(account)
    assert (report.status, report.standing, report.trading_on) == ("completed", "late", MONDAY), report
    assert report.counts["snapshots"] == 0
    assert await stage.rows("SELECT kind, subject FROM ledger_events") == []


async def test_an_older_price_never_replaces_a_newer_one(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))

    def price(amount: int, minute: int) -> Price:
        return Price(
            key=INFY,
            exchange="NSE",
            segment="CASH",
            trading_symbol="INFY",
            price=d(amount),
            source="ltp",
            priced_on=MONDAY,
            priced_at=ist(MONDAY, 15, minute),
        )

    for prices in ((price(100, 31),), (price(99, 29),), (price(101, 32), price(98, 30))):
        broker.says = a_statement(prices=prices)
        assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT price FROM closing_prices") == 101


async def test_a_first_snapshot_read_after_midnight_counts_delivered_shares_once(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    day = a_statement(
        orders=(order,), fills=(a_fill(10, isin=INFY),), positions=(a_position("INFY", bought=10, isin=INFY),)
    )
    broker.says = replace(day, sections=day.sections | a_statement(without=("holdings",)).sections)
    assert (await stage.sync(account)).status == "partial"
    stage.clock.set(ist(TUESDAY, 2))
    broker.says = a_statement(holdings=(a_holding(INFY, 10, trading_symbol="INFY"),))
    assert (await stage.sync(account, trigger="retry", wanted=["holdings"])).counts["snapshots"] == 1
    assert await stage.rows("SELECT trading_on, (lines #>> '{0,quantity}')::int FROM portfolio_snapshots") == [
        (MONDAY, 10)
    ]


async def test_a_late_first_snapshot_does_not_claim_to_know_the_days_profit(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(TUESDAY, 2))
    broker.says = a_statement(positions=(a_position("NIFTYFUT", segment="FNO", product="NRML", realised_pnl=d(0)),))
    assert (await stage.sync(account)).counts["snapshots"] == 1
    assert await stage.one("SELECT positions_pnl FROM portfolio_snapshots") is None


async def test_a_retry_of_positions_prices_those_of_the_other_segments_too(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    future = a_position("NIFTYFUT", segment="FNO", product="NRML", quantity=d(50), net_price=d(1), realised_pnl=d(0))
    broker.says = a_statement(positions=(future,), without=("positions:CASH", "prices"))
    await stage.sync(account)
    broker.says = a_statement(positions=(future,))
    await stage.sync(account, trigger="retry", wanted=["positions:CASH", "prices"])
    assert broker.asked == ["NSE:NIFTYFUT"]


async def test_a_commodity_is_priced_again_after_its_own_close(stage: Stage) -> None:
    """Its exchange trades until 23:30; the price of 16:00 is no close."""
    broker, account = scripted(stage), await connected(stage)
    gold = a_position("GOLDFUT", segment="COMMODITY", exchange="MCX", quantity=d(1), net_price=d(1), realised_pnl=d(0))
    said = a_statement(positions=(gold,))
    section = {"positions:COMMODITY": said.sections["owner"]}
    for hour, minute, amount in ((16, 0, 100), (23, 56, 105)):
        stage.clock.set(ist(MONDAY, hour, minute))
        price = Price(
            key="MCX:GOLDFUT",
            exchange="MCX",
            segment="COMMODITY",
            trading_symbol="GOLDFUT",
            price=d(amount),
            source="ltp",
            priced_on=MONDAY,
            priced_at=stage.clock.now(),
        )
        broker.says, broker.asked = replace(said, prices=(price,), sections=said.sections | section), []
        await stage.sync(account)
        assert broker.asked == ["MCX:GOLDFUT"]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144])
async def test_a_sync_cancelled_anywhere_leaves_no_open_batch_and_no_half_state(stage: Stage, steps: int) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = a_statement(orders=(order,), fills=(a_fill(10),), holdings=(a_holding(),))
    running = asyncio.create_task(stage.sync(account))
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    open_batches = await stage.rows("SELECT status FROM sync_batches WHERE finished_at IS NULL")
    assert open_batches == []
    await check_ledger(stage, account.id)
    report = await stage.sync(account)
    assert report.status == "completed"
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
    await check_ledger(stage, account.id)


async def test_a_conflict_in_the_apply_is_tried_again(stage: Stage, database: object) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    await _stumble_once(database)
    broker.says = a_statement(orders=(an_order(buy=10),))
    assert (await stage.sync(account)).status == "completed"
    await check_ledger(stage, account.id)


async def _stumble_once(database: object) -> None:
    import psycopg

    with psycopg.connect(database.owner) as tx:  # type: ignore[attr-defined]
        tx.execute("CREATE SEQUENCE stumbles; GRANT ALL ON SEQUENCE stumbles TO public")
        tx.execute(
            "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('public.stumbles') <= 2 "
            "THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$"
        )
        tx.execute("CREATE TRIGGER stumbles BEFORE INSERT ON order_history FOR EACH ROW EXECUTE FUNCTION stumble()")


async def test_a_token_that_cannot_be_kept_does_not_cost_the_reading(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 16)
    async with transaction(stage.app.pool) as tx:
        await tx.execute("SELECT FROM broker_accounts WHERE id = %s FOR NO KEY UPDATE", (account.id,))
        syncing = asyncio.create_task(stage.sync(account))
        await asyncio.sleep(6.5)  # beyond the lock timeout
    assert (await syncing).status == "completed"
