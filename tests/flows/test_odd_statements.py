"""Statements as no healthy broker makes them: each is written down once, nothing is counted twice, nothing is lost."""

import asyncio
from datetime import timedelta

import psycopg
import pytest
from msgspec.structs import replace

from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.db.pool import Pool, Tx, counted_statements, transaction
from portfolio_scheduler.db.reads import accounts as reads
from portfolio_scheduler.domain.records import Order, Outcome, Owner, Price
from portfolio_scheduler.errors import BrokerLoginRequired
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import plan
from portfolio_scheduler.sync.run import sync_account
from tests.builders import MONDAY, TUESDAY, WEDNESDAY, a_fill, a_holding, a_position, a_statement, an_order, d
from tests.conftest import Database
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
            a_fill("0.5", "0.000001", order=order.broker_order_id, trade="T'1", traded_at=odd, traded_raw=""),
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


@pytest.mark.parametrize("number", range(1, 32, 2))
async def test_a_sync_cancelled_at_any_statement_leaves_no_open_batch_and_no_half_state(
    stage: Stage, number: int
) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(10).being("EXECUTED")
    broker.says = a_statement(orders=(order,), fills=(a_fill(10),), holdings=(a_holding(),))
    with counted_statements() as statements:
        running = asyncio.create_task(stage.sync(account))
        while len(statements) < number and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await stage.rows("SELECT status FROM sync_batches WHERE finished_at IS NULL") == []
    await check_ledger(stage, account.id)
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
    await check_ledger(stage, account.id)


def _stumble(database: Database, table: str, does: str, times: int = 1) -> None:
    """Let the first inserts into a table go wrong."""
    with psycopg.connect(database.superuser) as tx:
        tx.execute("CREATE SEQUENCE stumbles; GRANT ALL ON SEQUENCE stumbles TO public")
        tx.execute(
            "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN "
            f"IF nextval('public.stumbles') <= {times} THEN {does}; END IF; RETURN NEW; END $$"
        )
        tx.execute(f"CREATE TRIGGER stumbles BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION stumble()")


CONFLICT = "RAISE EXCEPTION 'no' USING ERRCODE = '40001'"
LOST = "PERFORM pg_terminate_backend(pg_backend_pid())"


@pytest.mark.parametrize("does", [CONFLICT, LOST], ids=["conflict", "connection lost"])
@pytest.mark.parametrize("table", ["broker_payloads", "order_history", "portfolio_snapshots"])
async def test_a_write_that_stumbles_is_tried_again(stage: Stage, database: Database, table: str, does: str) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    _stumble(database, table, does)
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("table", ["broker_payloads", "portfolio_snapshots"])
@pytest.mark.parametrize("times", [3, 4])
async def test_a_write_is_tried_again_three_times_at_most(
    stage: Stage, database: Database, table: str, times: int
) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    _stumble(database, table, CONFLICT, times)
    if times == 3:
        assert (await stage.sync(account)).status == "completed"
    else:
        with pytest.raises(psycopg.errors.SerializationFailure):
            await stage.sync(account)
    ended = await stage.rows("SELECT status, error_class FROM sync_batches")
    assert ended == [("completed", None) if times == 3 else ("failed", "SerializationFailure")]


class Drowsy(StoppedClock):
    """A clock on a machine that falls asleep for six minutes whenever it waits."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(360)


async def test_what_was_fetched_more_than_five_minutes_ago_is_fetched_again(stage: Stage, database: Database) -> None:
    """Not applied again: the batch fails, and its retry reads anew."""
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    _stumble(database, "portfolio_snapshots", CONFLICT, times=2)
    with pytest.raises(psycopg.errors.SerializationFailure):
        await sync_account(replace(stage.app, clock=Drowsy(stage.clock.now())), account.id)
    assert await stage.one("SELECT count(*) FROM order_history") == 0, "nothing of it stands"
    stage.at(MONDAY, 16, 30)
    assert (await stage.sync(account)).counts["snapshots"] == 1


async def test_a_database_that_restarts_while_the_broker_is_read_costs_nothing(
    stage: Stage, database: Database
) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    async with transaction(stage.app.pool) as one, transaction(stage.app.pool) as two:
        await one.execute("SELECT 1")
        await two.execute("SELECT 1")
    stage.sim.add_fault(Fault(kind="delay", path="/v1/holdings/user", seconds=0.5))
    syncing = asyncio.create_task(stage.sync(account))
    await asyncio.sleep(0.3)
    with psycopg.connect(database.superuser) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
    assert (await syncing).status == "completed"
    await check_ledger(stage, account.id)


async def test_a_login_that_dies_within_the_book_loses_no_section_that_was_read(stage: Stage) -> None:
    account = await stage.connect(3)
    stage.at(MONDAY, 16)
    stage.sim.add_fault(Fault(kind="gateway", path="/v1/order", status=401, code="401", times=None))
    stage.sim.add_fault(Fault(kind="failure", path="/v1/token", status=403, code="403", times=None))
    report = await stage.sync(account)
    assert report.status == "partial"
    assert report.sections["holdings"].outcome is Outcome.OK
    assert report.sections["orders:CASH"].error == "BrokerLoginRequired"
    assert report.counts["holding_changes"] > 0
    assert await stage.one("SELECT state FROM broker_accounts") == "needs_login"
    stage.sim.faults.waiting.clear()
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT state FROM broker_accounts") == "active"
    await check_ledger(stage, account.id)


async def test_the_coverage_of_one_account_reads_no_other_accounts_batches(stage: Stage) -> None:
    async with transaction(stage.app.pool) as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        cursor = await tx.execute(
            "EXPLAIN SELECT * FROM coverage WHERE account_id = '01a20731-b9d1-759e-87ac-f746766f5f81'"
        )
        lines = [line for (line,) in await cursor.fetchall()]
    scans = [n for n, line in enumerate(lines) if " on sync_batches" in line or " on ledger_events" in line]
    assert len(scans) >= 4, lines
    assert all("account_id = " in lines[n + 1] and "Cond:" in lines[n + 1] for n in scans), "\n".join(lines)


async def test_a_token_that_cannot_be_kept_does_not_cost_the_reading(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 16)
    async with transaction(stage.app.pool) as tx:
        await tx.execute("SELECT FROM broker_accounts WHERE id = %s FOR NO KEY UPDATE", (account.id,))
        syncing = asyncio.create_task(stage.sync(account))
        await asyncio.sleep(6.5)  # beyond the lock timeout
    assert (await syncing).status == "completed"


async def test_an_order_placed_for_tomorrow_is_one_order_in_both_lists(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    waiting = an_order(buy=10, amo_status="PENDING", status="ACKED", created_at=ist(MONDAY, 19))
    filled = waiting.amended(amo_status="DISPATCHED").filled(10).being("EXECUTED")
    trade = a_fill(10, isin=INFY, traded_at=ist(TUESDAY, 10))
    bought = a_position("INFY", bought=10, isin=INFY)
    for day, hour, said in (
        (MONDAY, 16, a_statement()),
        (MONDAY, 20, a_statement(orders=(waiting,))),
        (TUESDAY, 2, a_statement(orders=(waiting,))),
        (TUESDAY, 8, a_statement(orders=(waiting,))),
        (TUESDAY, 12, a_statement(orders=(filled,), fills=(trade,), positions=(bought,))),
        (TUESDAY, 16, a_statement(orders=(filled,), fills=(trade,), positions=(bought,))),
    ):
        stage.clock.set(ist(day, hour))
        broker.says = said
        assert (await stage.sync(account)).status == "completed"
    assert await stage.rows("SELECT change_type, trading_on FROM order_quantity_changes ORDER BY seq") == [
        ("QUANTITY_ADDED", TUESDAY),
        ("STATUS_CHANGED", TUESDAY),
    ]
    assert await stage.rows("SELECT trading_on FROM order_fills") == [(TUESDAY,)]
    assert await stage.rows("SELECT kind FROM ledger_events") == []
    assert await stage.rows("SELECT trading_on, revision, fills_count FROM portfolio_snapshots ORDER BY seq") == [
        (MONDAY, 1, 0),
        (MONDAY, 2, 0),
        (TUESDAY, 1, 1),
    ]
    await check_ledger(stage, account.id)


async def test_two_thousand_holdings_take_no_more_statements_than_two(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement(holdings=tuple(a_holding(f"INE{number:09}") for number in range(2000)))
    with counted_statements() as statements:
        assert (await stage.sync(account)).counts["holding_changes"] == 2000
    assert len(statements) <= 40
    stage.clock.set(ist(TUESDAY, 16))
    assert (await stage.sync(account)).status == "completed"
    await check_ledger(stage, account.id)


async def test_a_commit_whose_answer_is_lost_is_not_written_twice_nor_called_a_failure(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement(orders=(an_order(buy=10),))
    stage.app = replace(stage.app, pool=PoolThatLosesAnswers(stage.app.pool))
    report = await stage.sync(account)
    assert (report.status, report.counts["orders"]) == ("completed", 1)
    await check_ledger(stage, account.id)


class PoolThatLosesAnswers:
    """A pool whose connection breaks once right after the commit that finishes a batch."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lost = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    async def putconn(self, connection: Tx) -> None:
        finished = False
        if not self._lost:
            cursor = await connection.execute("SELECT FROM sync_batches WHERE finished_at IS NOT NULL")
            finished = cursor.rowcount > 0
            await connection.rollback()
        await self._pool.putconn(connection)
        if finished:
            self._lost = True
            raise psycopg.OperationalError("the connection is lost")


async def test_what_an_order_should_not_do_is_recorded_and_rebuilt(stage: Stage) -> None:
    """Converted, amended after its end, traded and taken back: told once, and the same after rebuild and replay."""
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    order = an_order(buy=10).filled(6).being("CANCELLED")
    trades = (a_fill(6), a_fill(4, trade="T2", status="CANCELLED"))
    broker.says = a_statement(orders=(order,), fills=trades)
    first = await stage.sync(account)
    assert (first.counts["fills"], first.counts["events"], first.counts["snapshots"]) == (1, 1, 1)
    broker.says = a_statement(orders=(order.amended(product="MIS"),), fills=trades)
    assert (await stage.sync(account)).counts["order_changes"] == 1
    broker.says = a_statement(orders=(order.amended(product="MIS", quantity=6),), fills=trades)
    for told in (1, 0):
        assert (await stage.sync(account)).counts["order_changes"] == told
    names = "SELECT change_type, payload_digest IS NULL FROM order_quantity_changes ORDER BY seq DESC LIMIT 2"
    assert await stage.rows(names) == [("REGRESSED", True), ("ORDER_MODIFIED", True)]  # a script has no raw answers
    kept = "SELECT product, quantity, regressed_status FROM current_orders"
    assert await stage.rows(kept) == [("MIS", 10, "CANCELLED: quantity 6")]
    assert await stage.rows("SELECT kind, subject FROM open_findings") == [("ANNULLED", "G1/T2")]
    await check_ledger(stage, account.id)


async def test_an_id_conflict_makes_its_section_unstable_and_the_day_incomplete(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 15))
    broker.says = a_statement(orders=(an_order("INFY", buy=10),))
    await stage.sync(account)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement(orders=(an_order("TCS", buy=10),))
    report = await stage.sync(account)
    assert (report.status, report.sections["orders:CASH"].outcome) == ("partial", Outcome.UNSTABLE)
    assert report.counts["snapshots"] == 0
    assert await stage.rows("SELECT trading_symbol FROM current_orders") == [("INFY",)]
    await check_ledger(stage, account.id)


async def test_a_day_whose_orders_are_lost_is_not_called_late_as_well(stage: Stage) -> None:
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement()
    await stage.sync(account)
    stage.clock.set(ist(WEDNESDAY, 2))  # of Tuesday, after its end: the list is empty, which may be Wednesday's
    await stage.sync(account)
    said = "SELECT section, state FROM coverage WHERE trading_on = %s AND section LIKE 'orders%%' ORDER BY 1"
    late = await stage.rows(said, TUESDAY)
    assert late == [("orders:CASH", "late"), ("orders:FNO", "late")]
    stage.clock.set(ist(WEDNESDAY, 16))
    await stage.sync(account)
    assert await stage.rows(said, TUESDAY) == [("orders", "lost")]
    assert await stage.rows("SELECT state FROM coverage WHERE trading_on = %s AND section = 'holdings'", TUESDAY) == [
        ("late",)
    ]
    assert await stage.rows(said, WEDNESDAY) == [("orders:CASH", "complete"), ("orders:FNO", "complete")]


async def test_the_last_batch_is_the_one_that_ran_last_whatever_the_clock_said(stage: Stage) -> None:
    """Ids are made of the time, so a clock set back makes a later batch's id the smaller one."""
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement()
    await stage.sync(account)
    await stage.rows(
        "INSERT INTO sync_batches (id, account_id, trigger, status, fence, queued_at, started_at, finished_at, "
        "error_class) SELECT 'ffffffff-ffff-7fff-bfff-ffffffffffff', account_id, 'manual', 'failed', 0, queued_at, "
        "started_at, finished_at, 'BrokerUnavailable' FROM sync_batches RETURNING 1"
    )
    async with transaction(stage.app.pool) as tx:
        last = await reads.last_ended(tx, account.id)
        (row,) = await reads.standing(tx, [account.id])
        recent = await reads.recent_batches(tx, account.id, 5)
    assert last is not None
    assert row.last_batch is not None
    assert (last.status, row.last_batch.status) == ("completed", "completed")
    assert [batch.status for batch in recent] == ["completed", "failed"]
    stage.clock.advance(3600)
    assert (await plan(stage.app, stage.clock.now())).retries == 0, "what failed was made up for"


async def test_an_execution_explains_one_change_of_a_holding_not_two(stage: Stage) -> None:
    """Ten bought on Tuesday show at once; another ten on Wednesday came from elsewhere."""
    broker, account = scripted(stage), await connected(stage)
    stage.clock.set(ist(MONDAY, 16))
    broker.says = a_statement(holdings=(a_holding(INFY, 5),))
    await stage.sync(account)
    stage.clock.set(ist(TUESDAY, 16))
    order = an_order("INFY", buy=10).filled(10).being("EXECUTED")
    trades = (a_fill(10, isin=INFY, traded_at=ist(TUESDAY, 11)),)
    broker.says = a_statement(orders=(order,), fills=trades, holdings=(a_holding(INFY, 15),))
    await stage.sync(account)
    stage.clock.set(ist(WEDNESDAY, 16))
    broker.says = a_statement(holdings=(a_holding(INFY, 25),))
    await stage.sync(account)
    told = await stage.rows("SELECT quantity, explanation FROM holding_changes ORDER BY seq")
    assert told == [(5, "first_seen"), (15, "traded"), (25, "unexplained")]
    await check_ledger(stage, account.id)
