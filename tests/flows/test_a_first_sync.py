"""An account is connected and synced for the first time."""

from portfolio_scheduler.db.pool import counted_statements
from tests.flows.conftest import FIRST_DAY, Stage


async def test_the_first_sync_after_the_close_writes_everything_down(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    report = await stage.sync(account)
    assert (report.status, report.standing, report.trading_on) == ("completed", "final", FIRST_DAY), report
    assert report.counts["orders"] > 0
    assert report.counts["snapshots"] == 1


async def test_a_sync_takes_at_most_40_statements(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    with counted_statements() as statements:
        await stage.sync(account)
    assert len(statements) <= 40, statements.texts
