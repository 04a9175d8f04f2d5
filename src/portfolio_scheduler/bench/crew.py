"""Processes that each keep one thing open (a pool, a worker, a simulator) and do what they are told, all at once."""

import asyncio
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import psutil
import uvloop

from portfolio_scheduler import log
from portfolio_scheduler.errors import PortfolioSchedulerError

Opens = Callable[..., AbstractAsyncContextManager[Any]]
END_SECONDS = 30


class Failed(PortfolioSchedulerError):
    """A process of the benchmark failed."""


class Crew:
    """`size` processes, each inside `opens(*args)`. `tell` calls a method of what each opened and waits for all."""

    # How its processes come to be. The tests' are forked from one that has imported everything, once for all of them.
    context: ClassVar[SpawnContext | ForkServerContext] = multiprocessing.get_context("spawn")

    def __init__(self, size: int, opens: Opens, *args: Any, **options: Any) -> None:
        self._pipes: list[Any] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = self.context.Pipe()
            process = self.context.Process(target=_member, args=(theirs, opens, args, options), daemon=True)
            self._pipes.append(ours)
            self._processes.append((process, theirs))

    def __enter__(self) -> Self:
        for process, theirs in self._processes:
            process.start()
            theirs.close()
        self._answers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process, _ in self._processes:
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()

    def tell(self, method: str, *args: Any, **options: Any) -> list[Any]:
        """The same to all of them."""
        return self.tell_each(method, [args] * len(self._pipes), **options)

    def tell_each(self, method: str, args: Sequence[tuple[Any, ...]], **options: Any) -> list[Any]:
        """To each its own."""
        for pipe, own in zip(self._pipes, args, strict=True):
            pipe.send((method, own, options))
        return self._answers()

    def cpu_seconds(self) -> float:
        """Processor time used so far by all of them."""
        return sum(cpu_seconds(psutil.Process(process.pid)) for process, _ in self._processes)

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            try:
                worked, answer = pipe.recv()
            except EOFError:
                raise Failed("A process of the benchmark ended without a word.") from None
            if not worked:
                raise Failed(f"A process of the benchmark failed.\n{answer}")
            answers.append(answer)
        return answers


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    used: float = times.user + times.system
    return used


def _member(pipe: "Connection[Any, Any]", opens: Opens, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes the pipe
    log.configure("error")
    try:
        uvloop.run(_obey(pipe, opens(*args, **options)))
    except EOFError:
        return  # the parent is done
    except Exception:  # noqa: BLE001 - the outermost door of this process
        pipe.send((False, traceback.format_exc()))


async def _obey(pipe: "Connection[Any, Any]", opening: AbstractAsyncContextManager[Any]) -> None:
    loop = asyncio.get_running_loop()
    async with opening as opened:
        pipe.send((True, None))
        while True:
            method, own, options = await loop.run_in_executor(None, pipe.recv)
            pipe.send((True, await getattr(opened, method)(*own, **options)))


def peak_memory_bytes() -> int:
    """The most memory this process ever had resident. The kernel's own figure, where it keeps one."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    rss: int = psutil.Process().memory_info().rss
    return rss
