"""`diff` and `fold` alone, on a statement of 1 000 orders: no database, no network."""

from collections.abc import Callable

from portfolio_scheduler.bench import statements
from portfolio_scheduler.bench.figures import Figure, Scale, figure
from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.domain.changes import Moment, State, fold
from portfolio_scheduler.domain.diff import diff

ORDERS, FILLED = 1000, 750


async def measure(scale: Scale) -> list[Figure]:
    statement = statements.first(orders=ORDERS, filled=FILLED)
    moment = Moment(observed_at=statement.observed_at, observed_on=statements.DAY, trading_on=statements.DAY)
    changes = diff(State(), statement, moment).changes
    facts = list(enumerate(changes, start=1))
    known = fold(State(), facts)
    assert not diff(known, statement, moment).changes, "a second look finds nothing"
    what: list[tuple[str, Callable[[], object], str]] = [
        ("diff, all new", lambda: diff(State(), statement, moment), f"{len(changes)} changes"),
        ("diff, nothing new", lambda: diff(known, statement, moment), "the same statement again"),
        ("fold", lambda: fold(State(), facts), f"{len(facts)} changes from nothing"),
    ]
    return [
        figure("pure", f"{name}, 1 000 orders", "µs", _microseconds(scale, work), note=note)
        for name, work, note in what
    ]


def _microseconds(scale: Scale, work: Callable[[], object]) -> list[float]:
    clock = SystemClock()
    samples = []
    for _ in range(scale.of(15, 1)):
        started = clock.monotonic()
        work()
        samples.append((clock.monotonic() - started) * 1e6)
    return samples
