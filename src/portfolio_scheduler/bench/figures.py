"""What a benchmark says: one figure is the median of some runs, with its spread and the aim it is held to."""

from collections.abc import Sequence
from math import floor, log10
from statistics import median

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """How much is measured. `quick` shows only that everything works: its figures mean nothing."""

    quick: bool = False

    @property
    def runs(self) -> int:
        return self.of(5, 1)

    def of(self, full: int, quick: int) -> int:
        return quick if self.quick else full


class Aim(Struct, frozen=True):
    """A bound the median should keep."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"


class Figure(Struct, frozen=True, kw_only=True):
    """One line of the table."""

    measure: str  # which benchmark
    name: str
    unit: str
    median: float
    low: float
    high: float
    runs: int
    aim: str | None
    met: bool | None
    note: str


class Report(Struct, frozen=True, kw_only=True):
    """All figures of one run of the benchmarks, with the machine they belong to."""

    version: str
    quick: bool
    started_at: str
    machine: dict[str, str]
    figures: list[Figure]


def at_least(bound: float) -> Aim:
    return Aim(bound, at_least=True)


def at_most(bound: float) -> Aim:
    return Aim(bound, at_least=False)


def figure(
    measure: str, name: str, unit: str, samples: Sequence[float], aim: Aim | None = None, note: str = ""
) -> Figure:
    middle = median(samples)
    return Figure(
        measure=measure,
        name=name,
        unit=unit,
        median=significant(middle),
        low=significant(min(samples)),
        high=significant(max(samples)),
        runs=len(samples),
        aim=str(aim) if aim else None,
        met=aim.met(middle) if aim else None,
        note=note,
    )


def ratios(baseline_seconds: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """How many times as fast as the baseline, run by run."""
    return [base / own for base, own in zip(baseline_seconds, seconds, strict=True)]


def significant(value: float, digits: int = 4) -> float:
    """Rounded to so many digits that mean something."""
    return round(value, digits - 1 - floor(log10(abs(value)))) if value else value
