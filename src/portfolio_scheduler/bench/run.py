"""Which benchmarks there are, in the order of the table. Each runs on a server and a folder of its own."""

from collections.abc import Awaitable, Callable, Sequence

from portfolio_scheduler import __version__
from portfolio_scheduler.bench import (
    api,
    apply_only,
    end_to_end,
    footprint,
    live_events,
    long_history,
    place,
    planner,
    pure,
    rate_limits,
    rewrapping,
    second_look,
    simulator_alone,
    warm_start,
)
from portfolio_scheduler.bench.figures import Figure, Report, Scale
from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.errors import InvalidInput

Measure = Callable[[Scale], Awaitable[list[Figure]]]

MEASURES: dict[str, Measure] = {
    "simulator": simulator_alone.measure,
    "pure": pure.measure,
    "apply": apply_only.measure,
    "end-to-end": end_to_end.measure,
    "unchanged": second_look.measure,
    "limits": rate_limits.measure,
    "planner": planner.measure,
    "first-day": end_to_end.measure_first_day,
    "memory": footprint.measure_memory,
    "size": footprint.measure_size,
    "warm-start": warm_start.measure,
    "as-of": long_history.measure_as_of,
    "rebuild": long_history.measure_rebuild,
    "rewrap": rewrapping.measure,
    "live": live_events.measure,
    "api": api.measure,
}


async def run(only: Sequence[str], *, quick: bool, tell: Callable[[str], None]) -> Report:
    """The named benchmarks, or all. `tell` hears what is being measured."""
    if unknown := sorted(set(only) - MEASURES.keys()):
        raise InvalidInput(f"There is no benchmark {unknown[0]!r}; there are {', '.join(MEASURES)}.")
    started_at = SystemClock().now()
    figures: list[Figure] = []
    for name, measure in MEASURES.items():
        if not only or name in only:
            tell(name)
            figures += await measure(Scale(quick=quick))
    return Report(
        version=__version__,
        quick=quick,
        started_at=started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine=place.machine(),
        figures=figures,
    )
