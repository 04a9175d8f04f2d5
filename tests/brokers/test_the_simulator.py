"""Against the simulated Groww: real pages, real fills, and its faults."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.domain.records import Instrument, Login, Outcome
from portfolio_scheduler.errors import BrokerLoginRequired
from portfolio_scheduler.simulator.options import Load, Quirks, SimulatorOptions
from portfolio_scheduler.simulator.server import Fault, Simulator, running

from .conftest import TODAY


class Reader:
    """Reads one simulated account after the close of a day."""

    def __init__(self, simulator: Simulator, policy: Policy | None = None) -> None:
        self.simulator = simulator
        self.clock = StoppedClock(ist(TODAY, 16))
        simulator.set_clock(self.clock.now())
        self.groww = Groww(simulator.url, policy or Policy(deadline_seconds=0.5))

    def credentials(self, number: int) -> Credentials:
        login = self.simulator.accounts[number - 1]
        return Credentials(
            login=Login.TOTP if login.totp_secret else Login.APPROVAL,
            api_key=login.api_key,
            api_secret=login.secret or "",
            totp_secret=login.totp_secret or "",
        )

    def parse(self, *fetched: Any) -> Any:
        answers = [answer for part in fetched for answer in part.answers]
        sections = {name: result for part in fetched for name, result in part.sections.items()}
        return self.groww.parse(answers, sections, self.clock.now(), TODAY)

    async def read(self, number: int = 1) -> Any:
        async with self.groww.open(self.credentials(number), None, self.clock) as session:
            book = await session.fetch_book(None)
            said = self.parse(book)
            fills = await session.fetch_fills(said.orders)
            prices = await session.fetch_prices(
                [
                    Instrument(key=row.isin, exchange="NSE", segment="CASH", trading_symbol=row.trading_symbol)
                    for row in said.holdings
                ]
            )
        return self.parse(book, fills, prices)


@pytest.fixture
async def start() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> Reader:
            return Reader(await stack.enter_async_context(running(SimulatorOptions(**options))))

        yield started


def outcomes(statement: Any) -> set[Outcome]:
    return {result.outcome for result in statement.sections.values()}


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_each_kind_of_account_reads_clean(start: Any, number: int) -> None:
    statement = await (await start(limits=True)).read(number)
    assert outcomes(statement) == {Outcome.OK}
    assert (statement.flags, statement.quarantined) == ((), ())
    assert len(statement.prices) == len(statement.holdings) > 0


@pytest.mark.parametrize("cap", [25, 100])
async def test_every_order_and_fill_of_a_busy_day(start: Any, cap: int) -> None:
    reader = await start(
        accounts=1, load=Load(holdings=50, positions=10, orders=60, filled=45), quirks=Quirks(order_page_cap=cap)
    )
    statement = await reader.read()
    assert outcomes(statement) == {Outcome.OK}
    assert len(statement.orders) == 60
    filled = {order.broker_order_id: order.filled_quantity for order in statement.orders if order.filled_quantity}
    assert len(filled) == 45
    for order_id, quantity in filled.items():
        assert sum(fill.quantity for fill in statement.fills if fill.broker_order_id == order_id) == quantity


async def test_not_entitled_to_live_data(start: Any) -> None:
    statement = await (await start(quirks=Quirks(not_entitled=frozenset({1})))).read()
    assert statement.sections["prices"].outcome is Outcome.NOT_ENTITLED
    assert statement.holdings
    assert statement.prices == ()


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_key_that_was_not_approved(start: Any, status: int) -> None:
    reader = await start(quirks=Quirks(auto_approve=False, unapproved_status=status))
    with pytest.raises(BrokerLoginRequired, match="Approve the key"):
        await reader.read(3)
    reader.simulator.approve(3)
    assert outcomes(await reader.read(3)) == {Outcome.OK}


@pytest.mark.parametrize(
    "kind", ["html", "empty", "truncated", "cut", "drop", "drip", "gateway"],
)  # fmt: skip
async def test_passing_faults_leave_no_trace(start: Any, kind: str) -> None:
    reader = await start()
    sound = await reader.read()
    for path in ("/v1/holdings", "/v1/order/list"):
        reader.simulator.add_fault(Fault(kind=kind, path=path, code="401", seconds=0.05))
    assert await _same(reader, sound)


async def _same(reader: Reader, sound: Any) -> bool:
    statement = await reader.read()
    same = (statement.holdings, statement.orders, statement.positions, statement.sections)
    return bool(same == (sound.holdings, sound.orders, sound.positions, sound.sections))


@pytest.mark.parametrize(
    ("kind", "error"),
    [("html", "BrokerUnavailable"), ("null_payload", "BrokerAnswerUnknown"), ("redirect", "BrokerAnswerUnknown"),
     ("endless", "BrokerAnswerUnknown"), ("failure", "BrokerUnavailable"), ("truncated", "BrokerUnavailable")],
)  # fmt: skip
async def test_lasting_faults_fail_their_section_only(start: Any, kind: str, error: str) -> None:
    reader = await start()
    reader.simulator.add_fault(Fault(kind=kind, path="/v1/holdings", times=None))
    statement = await reader.read(2)
    assert statement.sections["holdings"].error == error
    assert {name for name, result in statement.sections.items() if result.outcome is not Outcome.OK} == {"holdings"}


async def test_a_third_of_all_answers_is_an_error(start: Any) -> None:
    reader = await start()
    sound = await reader.read(2)
    for path in ("/v1/holdings", "/v1/order/list", "/v1/order/trades", "/v1/user", "/v1/positions", "/v1/margins"):
        reader.simulator.add_fault(Fault(kind="status", status=503, path=path, times=2))
    statement = await reader.read(2)
    assert (statement.orders, statement.fills, statement.sections) == (sound.orders, sound.fills, sound.sections)
