"""A hundred keys at a broker that counts: how long until all are synced, and whether it ever had to say "too many"."""

from portfolio_scheduler.bench.crew import Failed
from portfolio_scheduler.bench.end_to_end import FIRST_DAY, NORMAL, TOTP
from portfolio_scheduler.bench.figures import Figure, Scale, at_most, figure
from portfolio_scheduler.bench.stage import Stage, staged, trading_days
from portfolio_scheduler.clock import ist
from portfolio_scheduler.simulator.options import Load, SimulatorOptions

ACCOUNTS = 100
SECONDS = 120
TOO_MANY = 429


async def measure(scale: Scale) -> list[Figure]:
    """A normal day, some times; then a day on which every account's fills are listed one by one, once."""
    accounts = scale.of(ACCOUNTS, 3)
    busy = Load(holdings=50, positions=10, orders=FIRST_DAY.orders, filled=scale.of(FIRST_DAY.filled, 2))
    normal, refused = await _days(NORMAL, accounts, scale.runs + 1)
    long, refused_then = await _days(busy, accounts, 1)
    keys = f"{accounts} accounts, a key each, 1 worker"
    spread = "all at once; the planner would spread them over 120 s"
    return [
        figure("limits", f"{keys}, normal day", "s", normal[1:], at_most(SECONDS), spread),
        figure("limits", "  refused as too many", "answers", refused[1:], at_most(0)),
        figure("limits", f"{keys}, {busy.filled} fills each, one by one", "s", long, note=spread),
        figure("limits", "  refused as too many", "answers", refused_then, at_most(0)),
    ]


async def _days(load: Load, accounts: int, how_many: int) -> tuple[list[float], list[int]]:
    """Seconds until all were synced, and how many answers were refusals, day by day."""
    days = trading_days(how_many)
    options = SimulatorOptions(accounts=accounts, on=days[0], load=load, kinds=TOTP, limits=True)
    seconds, refused = [], []
    async with staged(options) as stage:
        ids = [account.id for account in await stage.connect(range(1, accounts + 1))]
        with stage.working(1):
            for day in days:
                stage.stand_at(ist(day, 16))
                stage.simulator.tell("calls")
                seconds.append(await stage.sync(ids))
                refused.append(_refused(stage))
    return seconds, refused


def _refused(stage: Stage) -> int:
    (statuses,) = stage.simulator.tell("statuses")
    if not statuses.get(200):
        raise Failed("The simulator answered nothing: there was nothing to refuse.")
    refused: int = statuses.get(TOO_MANY, 0)
    return refused
