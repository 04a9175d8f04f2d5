"""Replay: an unchanged parser changes nothing; a fixed one brings the account to where it would have been."""

from datetime import date
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from portfolio_scheduler.cli.summary import summarise
from portfolio_scheduler.db import batches
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Outcome, SectionResult, Statement
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync import ownership
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.replay import replay
from portfolio_scheduler.sync.run import sync_account
from tests.builders import d
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger, facts_of
from tests.flows.replaying import broken, outcome
from tests.flows.test_day_after_day import orders_of

DAYS = [date(2026, 4, day) for day in (20, 21, 22, 23)]
TIMES = [(day, hour) for day in DAYS for hour in (11, 16)]


def surprised(section: str) -> Any:
    """Our picture of one section is wrong: it fails, as `parse` does it."""

    def breaks(said: Statement) -> Statement:
        bad = SectionResult(outcome=Outcome.FAILED, error="BrokerAnswerUnknown", reason="not the shape we know")
        sections = {name: bad if name.startswith(section) else result for name, result in said.sections.items()}
        empty: dict[str, Any] = {section.rstrip(":"): ()} if section in {"holdings", "orders:", "positions:"} else {}
        return replace(said, sections=sections, **empty)

    return breaks


def wrong_averages(said: Statement) -> Statement:
    return replace(said, holdings=tuple(replace(h, average_price=d(1)) for h in said.holdings))


def wrong_quantities(said: Statement) -> Statement:
    return replace(said, holdings=tuple(replace(h, quantity=h.quantity * 10) for h in said.holdings))


def wrong_orders(said: Statement) -> Statement:
    return replace(said, orders=tuple(replace(o, quantity=o.quantity + 1, product="MIS") for o in said.orders))


def every_other_order(said: Statement) -> Statement:
    kept = said.orders[::2]
    ids = {order.broker_order_id for order in kept}
    return replace(said, orders=kept, fills=tuple(f for f in said.fills if f.broker_order_id in ids))


def wrong_fills(said: Statement) -> Statement:
    return replace(
        said, fills=tuple(replace(f, price=f.price + 1, broker_trade_id=f"x{f.broker_trade_id}") for f in said.fills)
    )


def phantom_order(said: Statement) -> Statement:
    return replace(said, orders=(*said.orders, *(replace(o, broker_order_id="phantom") for o in said.orders[:1])))


def wrong_prices(said: Statement) -> Statement:
    return replace(said, prices=tuple(replace(p, price=p.price * 2) for p in said.prices))


def wrong_margin(said: Statement) -> Statement:
    return replace(said, margin=replace(said.margin, clear_cash=d(1)) if said.margin else None)


BREAKS = [
    surprised("holdings"),
    surprised("positions:"),
    surprised("margin"),
    surprised("fills"),
    wrong_averages,
    wrong_quantities,
    wrong_orders,
    wrong_fills,
    phantom_order,
    wrong_margin,
]


@pytest.mark.parametrize("number", [1, 2])
async def test_an_unchanged_parser_changes_nothing(stage: Stage, number: int) -> None:
    account = await stage.connect(number)
    for day, hour in TIMES:
        stage.at(day, hour)
        await stage.sync(account)
    before, told = await facts_of(stage, account.id), await outcome(stage, account.id)
    done = await replay(stage.app, account.id, since_on=DAYS[0])
    assert (done.batches, done.voided, done.added, done.rereadings, done.prices) == (len(TIMES), 0, 0, 0, 0), done
    assert (done.snapshots, done.skipped) == ((), ())
    assert await facts_of(stage, account.id) == before
    assert await outcome(stage, account.id) == told


@pytest.mark.parametrize("breaks", [surprised("orders:"), every_other_order], ids=["all", "some"])
async def test_orders_not_understood_come_back_and_executions_never_asked_for_are_said_to_miss(
    stage: Stage, breaks: Any
) -> None:
    """Which executions to fetch follows from the orders, so those of an order nobody saw were never read."""
    account = await stage.connect(2)
    for day, hour in TIMES[:4]:
        stage.at(day, hour)
        await sync_account(broken(stage, breaks), account.id)
    done = await replay(stage.app, account.id, since_on=FIRST_DAY)
    assert done.added > 0
    rows = await stage.rows("SELECT broker_order_id, status, filled_quantity FROM current_orders")
    assert set(rows) >= orders_of(stage.sim, 2)
    short = await stage.rows("SELECT broker_order_id FROM current_orders WHERE fills_quantity <> filled_quantity")
    said = await stage.rows("SELECT subject FROM open_findings WHERE kind = 'DISCREPANCY'")
    assert short
    assert set(short) == set(said)
    gaps = await stage.rows("SELECT trading_on FROM coverage WHERE state = 'lost'")
    assert gaps == [], "a day whose orders were read after all is no gap"
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda b: getattr(b, "__name__", "breaks"))
async def test_a_fixed_parser_brings_the_account_to_where_it_would_have_been(stage: Stage, breaks: Any) -> None:
    """The same broker account twice: one was read well from the start, the other was not until today."""
    good = await stage.connect(2)
    bad = await connect(stage.app, broker="groww", label="bad", credentials=stage.credentials(2), user="another")
    wrong = broken(stage, breaks)
    for number, (day, hour) in enumerate(TIMES):
        stage.at(day, hour)
        await stage.sync(good)
        await sync_account(wrong if number < 6 else stage.app, bad.id)
    expected = await outcome(stage, good.id)
    assert await outcome(stage, bad.id) != expected, "the broken parser does harm"
    done = await replay(stage.app, bad.id, since_on=FIRST_DAY)
    await check_ledger(stage, bad.id)
    found = await outcome(stage, bad.id)
    assert {name: value for name, value in found.items() if value != expected[name]} == {}
    assert done.voided + done.added + done.rereadings > 0
    before = await facts_of(stage, bad.id)
    again = await replay(stage.app, bad.id, since_on=FIRST_DAY)
    assert (again.voided, again.added, again.snapshots) == (0, 0, ())
    assert await facts_of(stage, bad.id) == before
    assert await outcome(stage, good.id) == expected, "nobody else's facts are touched"


async def test_after_a_bad_week_there_is_nothing_to_correct_either(stage: Stage) -> None:
    """Parts that failed, retries, an empty list believed the second time, a missed day, a reading after midnight."""
    account = await stage.connect(2)
    odd = '{"status":"SUCCESS","payload":{"surprise":1}}'
    empty = '{"status":"SUCCESS","payload":{"holdings":[]}}'
    for body, hours in ((odd, (11, 16)), (None, (17,))):
        for hour in hours:
            stage.at(DAYS[0], hour)
            if body:
                stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=body))
            await stage.sync(account)
    stage.at(DAYS[2], 16)  # the day between is lost
    stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=empty, times=2))
    await stage.sync(account)
    stage.clock.advance(31)
    await stage.sync(account)
    stage.at(DAYS[3], 2)
    await stage.sync(account)
    stage.at(DAYS[3], 16)
    stage.sim.add_fault(Fault(kind="raw", path="/v1/positions/user", body=odd))
    failed = await stage.sync(account)
    missing = [name for name, result in failed.sections.items() if result.outcome is not Outcome.OK]
    await stage.sync(account, trigger="retry", wanted=missing)
    await check_ledger(stage, account.id)
    before, told = await facts_of(stage, account.id), await outcome(stage, account.id)
    for since in (DAYS[0], DAYS[2], DAYS[3]):
        done = await replay(stage.app, account.id, since_on=since)
        assert (done.voided, done.added, done.rereadings, done.snapshots, done.skipped) == (0, 0, 0, (), ()), done
    assert await facts_of(stage, account.id) == before
    assert await outcome(stage, account.id) == told
    assert await stage.rows("SELECT trading_on FROM coverage WHERE state = 'lost'") == [(DAYS[1],)]


async def test_a_correction_names_what_it_corrects_and_takes_its_place(stage: Stage) -> None:
    account = await stage.connect(2)
    for day in DAYS[:2]:
        stage.at(day, 16)
        await sync_account(broken(stage, wrong_averages), account.id)
    first = await stage.one("SELECT id FROM sync_batches ORDER BY id LIMIT 1")
    await replay(stage.app, account.id, batch_id=first)
    pairs = await stage.rows(
        "SELECT old.batch_id = new.batch_id, old.observed_at = new.observed_at, old.trading_on = new.trading_on, "
        "old.average_price, (c.details ->> 'replaced_by')::bigint = new.seq, b.trigger "
        "FROM holding_changes new JOIN holding_changes old ON old.seq = new.corrects_seq "
        "JOIN ledger_events c ON c.kind = 'CORRECTION' AND c.corrects_seq = old.seq "
        "JOIN sync_batches b ON b.id = c.batch_id"
    )
    assert pairs
    assert set(pairs) == {(True, True, True, 1, True, "replay")}
    reasons = await stage.rows("SELECT reason FROM portfolio_snapshots WHERE revision = 2")
    assert len(reasons) == 2
    assert all(reason.startswith("replay: differs") for (reason,) in reasons)
    now = await summarise(stage.app, account)
    assert (now.standing, now.revision) == ("final", 2), "a correction of the past does not make today provisional"


async def test_a_raw_answer_that_is_gone_is_said_and_its_section_stands(stage: Stage, database: Database) -> None:
    account = await stage.connect(2)
    for day in DAYS[:2]:
        stage.at(day, 16)
        await sync_account(broken(stage, wrong_margin), account.id)
    told = await outcome(stage, account.id)
    with psycopg.connect(database.superuser) as connection:
        connection.execute("ALTER TABLE broker_payloads DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM broker_payloads WHERE call IN ('holdings', 'fills')")
    done = await replay(stage.app, account.id, since_on=DAYS[0])
    assert all("no longer kept" in reason for reason in done.skipped)
    assert len(done.skipped) == 2
    found = await outcome(stage, account.id)
    for name in ("real_holdings", "holding_changes", "current_orders", "order_fills"):
        assert found[name] == told[name]
    assert (done.voided, done.added, done.rereadings) == (0, 0, 2), "the margin is another now"


async def test_a_sync_that_runs_or_waits_is_a_conflict(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(DAYS[0], 16)
    await stage.sync(account)
    async with transaction(stage.app.pool) as tx:
        await tx.execute(
            "INSERT INTO sync_batches (account_id, trigger, status, queued_at) "
            "VALUES (%s, 'scheduled', 'queued', now())",
            (account.id,),
        )
    with pytest.raises(Conflict, match="waiting to run"):
        await replay(stage.app, account.id, since_on=DAYS[0])
    assert await stage.rows("SELECT trigger, status FROM sync_batches WHERE status = 'queued'") == [
        ("scheduled", "queued")
    ]
    async with transaction(stage.app.pool) as tx:
        await batches.claim_queued(tx, account.id, now=stage.clock.now(), worker="x")
    with pytest.raises(Conflict, match="already running"):
        await replay(stage.app, account.id, since_on=DAYS[0])


async def test_a_batch_whose_answers_were_never_written_is_written_by_a_replay(stage: Stage) -> None:
    """The parser did not even understand whose account it is: the sync failed, its answers were kept."""
    account = await stage.connect(2)
    stage.at(DAYS[0], 16)
    report = await sync_account(broken(stage, lambda said: replace(said, owner=None)), account.id)
    assert report.status == "failed"
    assert await stage.one("SELECT count(*) FROM order_history") == 0
    await replay(stage.app, account.id, since_on=DAYS[0])
    assert await stage.one("SELECT count(*) FROM real_holdings") > 0
    await check_ledger(stage, account.id)
    assert {state for (state,) in await stage.rows("SELECT DISTINCT state FROM coverage")} == {"complete"}


async def test_what_the_owner_did_stands_when_an_account_is_replayed_and_rebuilt(stage: Stage) -> None:
    """A pause was found in no answer: it belongs to no batch, and is no finding."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    await ownership.pause(stage.app, account.id)
    await ownership.resume(stage.app, account.id)
    await check_ledger(stage, account.id)
    assert await stage.rows("SELECT kind FROM open_findings") == []
