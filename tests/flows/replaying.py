"""A broker whose parser is broken in a known way, and what an account comes to, whatever numbers its facts have."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.db.rebuilding import DERIVED
from portfolio_scheduler.domain.records import Answer, SectionResult, Statement
from tests.flows.conftest import Stage

Breaks = Callable[[Statement], Statement]
WITHOUT = {"account_id", "seq", "first_seq", "last_seq", "batch_id", "revision", "reason", "observed_at"}


class Broken(Groww):
    """Groww, understood wrongly."""

    def __init__(self, url: str, breaks: Breaks) -> None:
        super().__init__(url)
        self._breaks = breaks

    def parse(
        self, answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
    ) -> Statement:
        return self._breaks(super().parse(answers, sections, observed_at, trading_on))


def broken(stage: Stage, breaks: Breaks) -> Any:
    """The product with that parser."""
    return replace(stage.app, brokers={"groww": Broken(stage.sim.url, breaks)})


async def rows_of(
    stage: Stage, table: str, account_id: UUID, *, without: set[str] | frozenset[str] = frozenset()
) -> Any:
    """All rows of an account as JSON, in an order of their own, some columns left out."""
    found = await stage.rows(f"SELECT to_jsonb(t) FROM {table} t WHERE account_id = %s", account_id)
    kept = [{name: value for name, value in row.items() if name not in without} for (row,) in found]
    return sorted(kept, key=repr)


async def outcome(stage: Stage, account_id: UUID) -> dict[str, Any]:
    """State, figures, history and coverage of an account, without the numbers of its facts."""
    found = {table: await rows_of(stage, table, account_id, without=WITHOUT) for table in DERIVED}
    newest = await stage.rows(
        "SELECT to_jsonb(s) FROM (SELECT DISTINCT ON (trading_on) * FROM portfolio_snapshots WHERE account_id = %s "
        "ORDER BY trading_on, revision DESC) s",
        account_id,
    )
    drop = WITHOUT | {"corrects_seq", "payload_digest"}
    found["snapshots"] = [{k: v for k, v in row.items() if k not in drop} for (row,) in newest]
    for view in ("order_history", "order_quantity_changes", "order_fills", "holding_changes", "position_changes"):
        found[view] = await rows_of(stage, f"effective_{view}", account_id, without=drop)
    found["events"] = await rows_of(stage, "effective_ledger_events", account_id, without=drop)
    found["coverage"] = await rows_of(stage, "coverage", account_id, without=drop)
    return found
