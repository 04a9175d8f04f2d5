"""Health: whether the process lives, and whether it can do its work. Open to everybody, so counts only."""

import asyncio
from collections.abc import Iterator

import psycopg
from litestar import Response, get
from litestar.status_codes import HTTP_200_OK, HTTP_503_SERVICE_UNAVAILABLE
from msgspec import Struct

from portfolio_scheduler import __version__
from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.readiness import Readiness, readiness
from portfolio_scheduler.errors import DatabaseUnavailable
from portfolio_scheduler.jobs import TICK_SECONDS, Pulse
from portfolio_scheduler.web.document import OPEN
from portfolio_scheduler.web.entry import At

PATIENCE_SECONDS = 3  # for the database
TICK_LATE_SECONDS = 2.5 * TICK_SECONDS
QUEUE_LATE_SECONDS = 15 * 60


class Alive(Struct, frozen=True, kw_only=True):
    status: str
    version: str


class Ready(Struct, frozen=True, kw_only=True):
    """Why the service is ready or not."""

    status: str  # "ready" or "not ready"
    version: str
    problems: list[str]  # empty when ready
    warnings: list[str]  # what somebody should see to, although everything works
    worker: str  # "working", "starting" or "elsewhere"
    tick_age_seconds: float | None  # since the planner last ran in this process
    state: Readiness | None  # None when the database did not answer


@get("/health", sync_to_thread=False, tags=["health"], security=OPEN)
def alive() -> Alive:
    """The process is up."""
    return Alive(status="alive", version=__version__)


@get("/health/ready", tags=["health"], security=OPEN)
async def ready(place: At) -> Response[Ready]:
    """The database answers and is of this release, the worker lives, the planner ticks; 503 when not."""
    found = await _ask(place.app)
    problems = list(_problems(found, place.pulse, place.revision))
    pulse: Pulse | None = place.pulse
    age = pulse.tick_age() if pulse else None
    body = Ready(
        status="not ready" if problems else "ready",
        version=__version__,
        problems=problems,
        warnings=place.app.calendar.warnings(ist_date(place.app.clock.now())),
        worker="elsewhere" if pulse is None else "working" if pulse.working else "starting",
        tick_age_seconds=round(age, 1) if age is not None else None,
        state=found,
    )
    return Response(body, status_code=HTTP_503_SERVICE_UNAVAILABLE if problems else HTTP_200_OK)


async def _ask(app: App) -> Readiness | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), transaction(app.pool) as tx:
            return await readiness(tx, app.clock.now())
    except (TimeoutError, psycopg.Error, DatabaseUnavailable):
        return None


def _problems(found: Readiness | None, pulse: Pulse | None, revision: str) -> Iterator[str]:
    if found is None:
        yield "the database does not answer"
    elif found.revision != revision:
        yield f"the database has the tables of another release ({found.revision}, not {revision})"
    if found is not None and (found.oldest_queued_seconds or 0) > QUEUE_LATE_SECONDS:
        yield f"a sync has been waiting for {found.oldest_queued_seconds:.0f} s"
    if pulse is not None:
        age = pulse.tick_age()
        if not pulse.working:
            yield "the worker does not run"
        if age is None:
            yield "the planner has not run yet"
        elif age > TICK_LATE_SECONDS:
            yield f"the planner last ran {age:.0f} s ago"


ROUTES = (alive, ready)
