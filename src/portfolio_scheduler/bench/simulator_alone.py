"""The simulator alone, on one core: were it slow, the end-to-end figures would be its own."""

import asyncio

import psutil

from portfolio_scheduler.bench.crew import Crew, Failed
from portfolio_scheduler.bench.figures import Figure, Scale, at_least, figure
from portfolio_scheduler.bench.host import host
from portfolio_scheduler.clock import SystemClock, ist
from portfolio_scheduler.simulator.options import LAST_DAY, Load, SimulatorOptions

CONNECTIONS = 16


async def measure(scale: Scale) -> list[Figure]:
    options = SimulatorOptions(accounts=CONNECTIONS, load=Load(holdings=50), kinds=("quiet",))
    answers = scale.of(1000, 5)
    with Crew(1, host, options) as simulator:
        cores = _pin(simulator)
        simulator.tell("stand_at", ist(LAST_DAY, 16), ticking=False)
        (url,) = simulator.tell("url")
        clients = [await _Client.opened(url, simulator.tell("token", n + 1)[0]) for n in range(CONNECTIONS)]
        rates = []
        for _ in range(scale.runs + 1):
            clock = SystemClock()
            started = clock.monotonic()
            await asyncio.gather(*(client.ask(answers) for client in clients))
            rates.append(CONNECTIONS * answers / (clock.monotonic() - started))
        for client in clients:
            client.close()
    note = f"50 holdings each, {clients[0].size:,} bytes; {cores}"
    return [figure("simulator", "holdings answers", "answers/s", rates[1:] or rates, at_least(2000), note)]


def _pin(simulator: Crew) -> str:
    """The simulator has one core to itself, we take another; where the system allows it."""
    if not hasattr(psutil.Process, "cpu_affinity"):
        return "not held to one core: this system cannot"
    cores = psutil.Process().cpu_affinity()
    simulator.tell("pin", cores[0])
    return "held to one core"


class _Client:
    """A connection that sends the same request again and again: nothing that could be the slower side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        self._reader, self._writer, self._request = reader, writer, request
        self.size = 0

    @classmethod
    async def opened(cls, url: str, token: str) -> "_Client":
        host_and_port = url.removeprefix("http://").partition("/")[0]
        name, _, port = host_and_port.partition(":")
        request = (
            f"GET /v1/holdings/user HTTP/1.1\r\nHost: {host_and_port}\r\nAuthorization: Bearer {token}\r\n"
            "X-API-VERSION: 1.0\r\nAccept: application/json\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(name, int(port))
        client = cls(reader, writer, request.encode())
        await client._measure()
        return client

    async def _measure(self) -> None:
        """The first answer says how long they are: its header and its body never change their length."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(f"The simulator refused: {head.splitlines()[0].decode()}.")
        (length,) = (line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        body = int(length.partition(b":")[2])
        await self._reader.readexactly(body)
        self.size = len(head) + body

    async def ask(self, times: int) -> None:
        for _ in range(times):
            self._writer.write(self._request)
            answer = await self._reader.readexactly(self.size)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise Failed("The simulator's answers are not all alike.")

    def close(self) -> None:
        self._writer.close()
