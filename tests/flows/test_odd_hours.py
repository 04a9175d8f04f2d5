"""Readings at odd hours: nights, mornings before the open, weekends, and days that were missed."""

from datetime import date

import pytest

from tests.builders import MONDAY, TUESDAY
from tests.flows.conftest import Stage
from tests.flows.ledger_checks import check_fold, check_ledger, facts_of
from tests.scale import PROOF

WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 4, day) for day in (22, 23, 24))
SATURDAY = date(2026, 4, 25)
DAYS = "SELECT trading_on, revision, unexplained, day_change_reason FROM portfolio_snapshots ORDER BY 1, 2"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_readings_at_any_hour_make_one_snapshot_a_day_without_a_riddle(stage: Stage, number: int) -> None:
    account = await stage.connect(number)
    for day in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY):
        for hour, minute in ((2, 0), (8, 0), (11, 0), (16, 0), (23, 15)):
            if (day, hour) >= (MONDAY, 11):
                stage.at(day, hour, minute)
                report = await stage.sync(account)
                assert report.status == "completed", (day, hour, report)
                await (check_ledger if PROOF or hour == 23 else check_fold)(stage, account.id)
    rows = await stage.rows(DAYS)
    assert [(on, revision) for on, revision, *_ in rows] == [
        (on, 1) for on in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)
    ]
    assert [amount for *_, amount, _ in rows] == [None, 0, 0, 0, 0]
    assert await stage.rows("SELECT isin FROM holding_changes WHERE explanation = 'unexplained'") == []
    assert await stage.rows("SELECT kind, section, subject, details FROM open_findings") == []


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_after_a_missed_day_the_change_is_unknown_and_says_why(stage: Stage, number: int) -> None:
    account = await stage.connect(number)
    for day in (MONDAY, WEDNESDAY, THURSDAY):
        stage.at(day, 16)
        if (await stage.sync(account)).status == "partial":  # what was sold on the missed day is gone without a reason
            stage.clock.advance(31)
            assert (await stage.sync(account)).status == "completed"
        await check_ledger(stage, account.id)
    rows = await stage.rows(DAYS)
    assert [(on, reason) for on, *_, reason in rows] == [
        (MONDAY, "no earlier snapshot"),
        (WEDNESDAY, "no snapshot of the previous trading day, 2026-04-21"),
        (THURSDAY, None),
    ]
    assert rows[2][2] == 0


async def test_a_weekend_adds_nothing_after_its_first_reading(stage: Stage) -> None:
    account = await stage.connect(2)
    for day in (THURSDAY, FRIDAY):
        stage.at(day, 16)
        await stage.sync(account)
    stage.at(SATURDAY, 16)
    await stage.sync(account)
    before = await facts_of(stage, account.id)
    for day, hour in ((SATURDAY, 20), (date(2026, 4, 26), 2), (date(2026, 4, 26), 16), (date(2026, 4, 27), 8)):
        stage.at(day, hour)
        report = await stage.sync(account)
        assert (report.status, report.trading_on) == ("completed", FRIDAY)
        changes = {name: count for name, count in report.counts.items() if count}
        assert changes == {}, (day, hour)
    assert await facts_of(stage, account.id) >= before
    assert [on for on, *_ in await stage.rows(DAYS)] == [THURSDAY, FRIDAY]
    await check_ledger(stage, account.id)
