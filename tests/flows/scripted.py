"""A broker that says what the test wrote down: for statements no simulator would make."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime

from msgspec.structs import replace

from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.domain.records import (
    Answer,
    Fetched,
    Instrument,
    Login,
    Margin,
    Order,
    Outcome,
    SectionResult,
    Statement,
)
from portfolio_scheduler.sync.connect import connect
from tests.builders import OK, a_statement
from tests.flows.conftest import Stage

LAST = ("fills", "prices")  # the sections that are asked for last


class ScriptedBroker:
    """Says `says`, as long as the sections are wanted. `before` runs before a call is answered, and may raise."""

    name = "groww"
    approval_url = "https://groww.example/approve"

    def __init__(self) -> None:
        self.says = a_statement()
        self.before: Mapping[str, Callable[[], None]] = {}
        self.owed: list[str] = []
        self.asked: list[str] = []  # instruments whose price was asked for

    @asynccontextmanager
    async def open(
        self, credentials: Credentials, token: AccessToken | None, clock: Clock
    ) -> AsyncIterator["ScriptedSession"]:
        yield ScriptedSession(self)

    def parse(
        self, answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
    ) -> Statement:
        said = replace(self.says, observed_at=observed_at, sections=sections)
        return replace(
            said,
            holdings=said.holdings if said.applies("holdings") else (),
            positions=tuple(p for p in said.positions if said.applies(f"positions:{p.segment}")),
            orders=tuple(o for o in said.orders if said.applies(f"orders:{o.segment}")),
            fills=tuple(f for f in said.fills if f.broker_order_id in self.owed) if said.applies("fills") else (),
            margin=Margin() if said.applies("margin") else None,
            prices=said.prices if said.applies("prices") else (),
        )


class ScriptedSession:
    token = None
    clock_offset = None  # a broker without a clock
    resume_at = None

    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker

    async def fetch_book(self, sections: Collection[str] | None = None) -> Fetched:
        self._heard("book")
        said = {"margin": OK} | dict(self._broker.says.sections)
        book = {name: result for name, result in said.items() if name not in LAST}
        if sections is not None:
            book = {name: result for name, result in book.items() if name in {"owner", *sections}}
        return Fetched(sections=book)

    async def fetch_earlier(self, orders: Sequence[Order]) -> Fetched:
        return Fetched()

    async def fetch_fills(self, orders: Sequence[Order]) -> Fetched:
        self._heard("fills")
        self._broker.owed = [order.broker_order_id for order in orders]
        return Fetched(sections={"fills": self._broker.says.sections.get("fills", OK)})

    async def fetch_prices(self, instruments: Sequence[Instrument]) -> Fetched:
        self._heard("prices")
        self._broker.asked = [instrument.key for instrument in instruments]
        return Fetched(sections={"prices": self._broker.says.sections.get("prices", OK)})

    def _heard(self, call: str) -> None:
        if call in self._broker.before:
            self._broker.before[call]()


def scripted(stage: Stage) -> ScriptedBroker:
    """Put a scripted broker in place of the simulator."""
    broker = ScriptedBroker()
    stage.app = replace(stage.app, brokers={"groww": broker})
    return broker


async def connected(stage: Stage) -> Account:
    credentials = Credentials(login=Login.TOKEN, access_token="a token")
    return await connect(stage.app, broker="groww", label="scripted", credentials=credentials)


def unstable(statement: Statement, section: str) -> Statement:
    shaky = SectionResult(outcome=Outcome.UNSTABLE, reason="not all of it could be read")
    return replace(statement, sections=statement.sections | {section: shaky})
