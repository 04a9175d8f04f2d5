"""Instruments files as Groww offers them, made up."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from portfolio_scheduler.domain.instruments import is_isin
from portfolio_scheduler.simulator.instruments import COLUMNS

Row = tuple[str, str, str, str]  # exchange, segment, trading symbol, ISIN


def an_isin(number: int) -> str:
    """A valid ISIN that nobody has."""
    body = f"INE{number:06}01"
    return next(body + str(digit) for digit in range(10) if is_isin(body + str(digit)))


def csv_of(rows: Sequence[Row]) -> str:
    return "".join(csv_lines(iter(rows)))


def csv_lines(rows: Iterator[Row]) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\n"
    for exchange, segment, symbol, isin in rows:
        values = {
            "exchange": exchange,
            "exchange_token": "100001",
            "trading_symbol": symbol,
            "groww_symbol": f"{exchange}-{symbol}",
            "name": f"The {symbol} Company of India Limited",
            "instrument_type": "EQ" if segment == "CASH" else "CE",
            "segment": segment,
            "isin": isin,
            "lot_size": "1",
            "tick_size": "0.05",
            "expiry_date": "" if segment == "CASH" else "2026-04-30",
            "internal_trading_symbol": symbol,
            "is_intraday": "1",
        }
        yield ",".join(values.get(name, "") for name in COLUMNS) + "\n"


def a_full_file(path: Path, rows: int = 150_000) -> int:
    """A file as large as the real one: shares on two exchanges and six contracts for each. Returns its bytes."""

    def listed() -> Iterator[Row]:
        for number in range(rows // 10):
            isin = an_isin(number)
            yield "NSE", "CASH", f"SHARE{number:06}", isin
            yield "BSE", "CASH", f"SHARE{number:06}", isin
            for strike in range(8):
                yield "NSE", "FNO", f"SHARE{number:06}26APR{strike * 100 + 500}CE", ""

    with path.open("w") as file:
        file.writelines(csv_lines(listed()))
    return path.stat().st_size
