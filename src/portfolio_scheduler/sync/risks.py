"""What may go wrong with an account's next run, as far as it can be foreseen: a sentence for each. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import IST, ist_date
from portfolio_scheduler.db.reads.accounts import AccountRow, ProbeRow
from portfolio_scheduler.domain.records import Login

OVERDUE = timedelta(minutes=15)  # a run that was due so long ago should have begun


def risks(app: App, row: AccountRow, now: datetime, expected_at: datetime | None, due_at: datetime | None) -> list[str]:
    """In the order in which they should be seen to; empty when nothing is foreseen."""
    if row.state == "closed":
        return []
    if row.state == "paused":
        return ["It is paused: nothing is read, and every trading day until it is resumed is lost."]
    return [*_runs(row, now, expected_at), *_login(app, row, now, due_at), *_pause(row, due_at)]


def _runs(row: AccountRow, now: datetime, expected_at: datetime | None) -> Iterator[str]:
    """A run that was due and of which nobody has planned a batch: no worker is running."""
    if expected_at is not None and row.planned_through < expected_at < now - OVERDUE and row.open_batch is None:
        yield (
            f"The run of {_clock(expected_at, now)} has not begun: is `serve` or `worker` running? "
            "Orders can be read until midnight."
        )


def _login(app: App, row: AccountRow, now: datetime, due_at: datetime | None) -> Iterator[str]:
    if due_at is None or ist_date(due_at) > ist_date(now):  # tomorrow's login is tomorrow's matter
        return
    if row.state != "needs_login" and row.token_expires_at is not None and row.token_expires_at > due_at:
        return
    before = _clock(due_at, now)
    probe = row.last_probe if row.last_probe and row.last_probe.probe_on == ist_date(due_at) else None
    if row.login == Login.APPROVAL:
        yield f"Needs approval before {before}: {app.brokers[row.broker].approval_url}"
    elif row.login == Login.TOKEN:
        yield f"Needs a new access token before {before}: paste it with `accounts login {row.label}`."
    elif row.state == "needs_login":
        yield f"The broker did not accept the login, so the run of {before} will fail. {_said(probe)}".strip()
    elif probe is not None and probe.outcome == "later":
        yield f"The login could not be tried: {_said(probe)}"


def _said(probe: ProbeRow | None) -> str:
    return (probe.text if probe else None) or ""


def _pause(row: AccountRow, due_at: datetime | None) -> Iterator[str]:
    if due_at is not None and row.resume_at is not None and row.resume_at > due_at:
        yield f"The broker asked for a pause until {row.resume_at.astimezone(IST):%H:%M}; the run waits for its end."


def _clock(at: datetime, now: datetime) -> str:
    """16:00, with the day when it is not today."""
    local = at.astimezone(IST)
    return f"{local:%H:%M}" if local.date() == ist_date(now) else f"{local:%H:%M of %d %b}"
