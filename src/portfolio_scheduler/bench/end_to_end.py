"""A worker syncs accounts at the simulator over HTTP, as it would in the evening: accounts a second."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Crew
from portfolio_scheduler.bench.figures import Figure, Scale, at_least, figure
from portfolio_scheduler.bench.stage import Stage, staged, trading_days
from portfolio_scheduler.brokers.groww.client import RATES, READS
from portfolio_scheduler.clock import ist
from portfolio_scheduler.jobs import SYNCS_AT_ONCE
from portfolio_scheduler.simulator.options import Load, SimulatorOptions

PREDECESSOR = Load(holdings=50, positions=10, orders=100, filled=0)
NORMAL = Load(holdings=50, positions=10, orders=5, filled=3)
FIRST_DAY = Load(holdings=50, positions=10, orders=100, filled=75)
TOTP = ("quiet",)  # logins that need nobody


def simulator_options(load: Load, accounts: int, on: date) -> SimulatorOptions:
    return SimulatorOptions(accounts=accounts, on=on, load=load, kinds=TOTP)


async def measure(scale: Scale) -> list[Figure]:
    """Each number of workers gets a stage of its own; where figures mean nothing anyway, those of a load share one."""
    figures: list[Figure] = []
    for name, load, crews in (
        ("(a) 100 new orders, no fills", PREDECESSOR, (1, 2)),
        ("(b) 5 new orders, 3 filled", NORMAL, (1, 2, 4)),
    ):
        for turns in [crews] if scale.quick else [(workers,) for workers in crews]:
            figures += await _staged_days(scale, name, load, turns)
    return figures


def _workers(number: int) -> str:
    return f"{number} worker{'s' if number > 1 else ''}"


async def _staged_days(scale: Scale, name: str, load: Load, crews: Sequence[int]) -> list[Figure]:
    """One stage, on which these numbers of workers take their turns, each on days of its own."""
    accounts, each = scale.of(120, 3), scale.runs + 1
    days = trading_days(each * len(crews))
    async with staged(simulator_options(load, accounts, days[0])) as stage:
        ids = [account.id for account in await stage.connect(range(1, accounts + 1))]
        return [
            await _days(stage, f"{name}, {_workers(workers)}", workers, ids, days[turn * each : (turn + 1) * each])
            for turn, workers in enumerate(crews)
        ]


async def _days(stage: Stage, name: str, workers: int, account_ids: Sequence[UUID], days: Sequence[date]) -> Figure:
    """The first day makes plans, caches and holdings; the days after it are measured."""
    accounts = len(account_ids)
    with stage.working(workers) as crew:
        stage.stand_at(ist(days[0], 16))
        first = accounts / await stage.sync(account_ids)
        rates, used = [], Used(stage, crew)
        for day in days[1:]:
            stage.stand_at(ist(day, 16))
            used.before()
            rates.append(accounts / await stage.sync(account_ids))
            used.after()
        note = f"{used.told(accounts * len(rates))}; first day {first:,.0f}/s; {SYNCS_AT_ONCE} syncs at once each"
    return figure("end-to-end", name, "accounts/s", rates, at_least(60), note)


class Used:
    """Processor time and calls, by who used them."""

    def __init__(self, stage: Stage, workers: Crew) -> None:
        self.stage = stage
        self.workers = workers
        self.seconds = {"worker": 0.0, "PostgreSQL": 0.0, "simulator": 0.0}
        self.calls = 0
        self._was = dict(self.seconds)

    def _now(self) -> dict[str, float]:
        return {
            "worker": self.workers.cpu_seconds(),
            "PostgreSQL": place.server_cpu_seconds(self.stage.app.settings),
            "simulator": self.stage.simulator.cpu_seconds(),
        }

    def before(self) -> None:
        self.stage.simulator.tell("calls")
        self._was = self._now()

    def after(self) -> None:
        for who, seconds in self._now().items():
            self.seconds[who] += seconds - self._was[who]
        (calls,) = self.stage.simulator.tell("calls")
        self.calls += calls

    def told(self, syncs: int) -> str:
        shares = ", ".join(f"{who} {seconds / syncs * 1e3:.1f}" for who, seconds in self.seconds.items())
        return f"{self.calls / syncs:.0f} calls; processor ms each: {shares}"


async def measure_first_day(scale: Scale) -> list[Figure]:
    """75 fills are fetched one by one: with the product's rate budget, and without, to see which of the two limits."""
    at_once = scale.of(SYNCS_AT_ONCE, 1)
    load = FIRST_DAY if not scale.quick else Load(holdings=5, positions=1, orders=10, filled=8)
    each = scale.runs + 1
    days = trading_days(2 * each)
    async with staged(simulator_options(load, at_once * len(days), days[0])) as stage:
        limited = await _first_days(stage, days[:each], range(1, each * at_once + 1), limited=True)
        free = await _first_days(stage, days[each:], range(each * at_once + 1, 2 * each * at_once + 1), limited=False)
    reads = 6 + load.filled  # user detail, holdings, positions, two pages of orders, margin
    floor = (reads - 1) // RATES[READS].per_second
    what = f"(c) {load.filled} fills one by one, {at_once} accounts at once, 1 worker"
    waits = f"{reads} reads each: at {RATES[READS].per_second} in a second the last one starts after {floor} s"
    return [
        figure("first-day", f"{what}, rate budget as shipped", "s", limited, note=waits),
        figure("first-day", f"{what}, without rate budget", "s", free, note="the same work, nothing waits"),
        figure(
            "first-day",
            "(c) share of the time that is waiting for the budget",
            "%",
            [100 * (1 - without / with_) for with_, without in zip(limited, free, strict=True)],
        ),
    ]


async def _first_days(stage: Stage, days: Sequence[date], numbers: Sequence[int], *, limited: bool) -> list[float]:
    """Seconds until new accounts are synced for the first time, on a day of its own each time."""
    at_once = len(numbers) // len(days)
    seconds = []
    with stage.working(1, limited=limited):
        for turn, day in enumerate(days):
            stage.stand_at(ist(day, 10))
            own = await stage.connect(numbers[turn * at_once : (turn + 1) * at_once])
            stage.stand_at(ist(day, 16))
            seconds.append(await stage.sync([account.id for account in own]))
    return seconds[1:]
