"""The command `portfolio-scheduler simulator`, as a process."""

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest

from portfolio_scheduler.simulator.accounts import make_login


@asynccontextmanager
async def the_command(*arguments: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "portfolio_scheduler", "simulator", "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_one_line_of_json_and_stops_when_told(number):
    async with the_command("--json", "--date", "2026-03-02", "--accounts", "4") as process:
        greeting = json.loads(await process.stdout.readline())
        assert greeting["date"] == "2026-03-02"
        assert len(greeting["accounts"]) == 4
        async with aiohttp.ClientSession() as http, http.get(greeting["control_url"] + "/state") as answer:
            state = await answer.json()
        assert state["at"] == "2026-03-02T09:00:00+05:30"
        assert state["accounts"] == greeting["accounts"]
        process.send_signal(number)
        out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_it_prints_every_login():
    async with the_command() as process:
        lines = []
        while not lines or b"Ctrl-C" not in lines[-1]:
            lines.append(await asyncio.wait_for(process.stdout.readline(), 20))
        text = b"".join(lines).decode()
        logins = [make_login(7, number, kind) for number, kind in enumerate(("quiet", "trader", "approval"), 1)]
        for login in logins:
            assert login.api_key in text
            assert (login.secret or login.totp_secret) in text
        assert "http://127.0.0.1:" in text
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_taken_port_is_one_clear_sentence():
    async with the_command("--json") as first:
        port = json.loads(await first.stdout.readline())["url"].split(":")[2].split("/")[0]
        async with the_command("--port", port) as second:
            out, err = await second.communicate()
            assert second.returncode == 2
            assert out == b""
            assert err.decode().startswith(f"Cannot listen on 127.0.0.1:{port}")


async def test_a_day_without_prices_is_one_clear_sentence():
    async with the_command("--date", "2023-01-01") as process:
        _, err = await process.communicate()
        assert process.returncode == 2
        assert "2023-01-01" in err.decode()
        assert "Traceback" not in err.decode()
