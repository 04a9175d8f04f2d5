"""Days at random: whatever a broker, a crash or a clock does, the ledger says what the model says."""

from collections.abc import Callable

import pytest

from tests.flows.conftest import Stage
from tests.flows.wild_days import Walk
from tests.scale import scaled

DAYS = 30


@pytest.mark.parametrize("seed", range(scaled(200)))
async def test_a_month_at_random_is_written_down_as_it_was_told(
    stage: Stage, seed: int, tell: Callable[[str, object], None]
) -> None:
    walk = Walk(stage, seed)
    await walk.live(DAYS)
    tell(f"wild month, seed {seed:3}", dict(walk.seen))
