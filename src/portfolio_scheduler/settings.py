"""Settings come from environment variables only. One table says all of them; the docs are checked against it."""

import os
import re
from collections.abc import Mapping
from datetime import time
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import platformdirs

from portfolio_scheduler.errors import SetupProblem

APP = "portfolio-scheduler"


class Setting(msgspec.Struct, frozen=True):
    """One environment variable: its name, what it means, and what holds when it is absent."""

    name: str
    meaning: str
    default: str


SETTINGS = (
    Setting(
        "PORTFOLIO_SCHEDULER_DATA",
        "folder of the embedded database and everything the product keeps",
        "the platform's user data folder",
    ),
    Setting(
        "PORTFOLIO_SCHEDULER_KEYS",
        "folder of the key files and the database role passwords; must not lie inside the data folder",
        "the platform's user configuration folder",
    ),
    Setting(
        "PORTFOLIO_SCHEDULER_PRIVATE_KEYS",
        "where the private keys come from, when not from the key folder: a file, or `command:` and a program",
        "opening.json in the key folder",
    ),
    Setting("DATABASE_URL", "a PostgreSQL 18 or newer to use instead of the embedded one (its owner role)", "embedded"),
    Setting(
        "PORTFOLIO_SCHEDULER_GROWW_URL",
        "base address of the Groww Trade API; anything but Groww's own must be on the loopback interface",
        "https://api.groww.in/v1",
    ),
    Setting("PORTFOLIO_SCHEDULER_HOST", "address the service listens on", "127.0.0.1"),
    Setting("PORTFOLIO_SCHEDULER_PORT", "port the service listens on", "8800"),
    Setting(
        "PORTFOLIO_SCHEDULER_URL",
        "address by which people reach the service: https, or http on the loopback interface; the issuer of its tokens",
        "http://127.0.0.1: and the port",
    ),
    Setting(
        "PORTFOLIO_SCHEDULER_PROXIES",
        "networks of the proxies in front of the service, with commas between; only they are believed whose request "
        "they pass on",
        "none",
    ),
    Setting(
        "PORTFOLIO_SCHEDULER_LOGIN_PROBE",
        "time in India (HH:MM) at which logins are tried on trading days, while the owner can still act",
        "15:15",
    ),
    Setting("PORTFOLIO_SCHEDULER_LOG_LEVEL", "debug, info, warning or error", "info"),
    Setting("PORTFOLIO_SCHEDULER_LOG_FORMAT", "text or json", "text"),
    Setting(
        "PORTFOLIO_SCHEDULER_LEASE_SECONDS",
        "seconds without a sign of life after which a worker's batch is given to another, the same for all processes",
        "20",
    ),
    Setting(
        "PORTFOLIO_SCHEDULER_CLOCK",
        "for demonstrations: the time to go by, as INSTANT@INSTANT: what it was when it really was",
        "the machine's clock",
    ),
)

GROWW_URL = "https://api.groww.in/v1"
PORTS = range(1, 65536)
LEASES = range(1, 601)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
USUAL_PORTS = {"https": ":443", "http": ":80"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    data: Path
    keys: Path
    private_keys: str | None = None  # see key_source.source_of
    database_url: str | None = None
    groww_url: str = GROWW_URL
    host: str = "127.0.0.1"
    port: int = 8800
    url: str = "http://127.0.0.1:8800"  # scheme, host and port, as browsers write an origin
    proxies: tuple[str, ...] = ()  # networks of proxies that are believed about where a request comes from
    login_probe: time = time(15, 15)  # in India
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    lease_seconds: int = 20  # a running batch is given up after so long without a heartbeat
    clock: str | None = None  # see clock.make_clock


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a value that is not usable is a `SetupProblem` naming the variable."""

    def of(name: str) -> str | None:
        return environ.get(name) or None

    data = Path(of("PORTFOLIO_SCHEDULER_DATA") or platformdirs.user_data_dir(APP)).expanduser().absolute()
    keys = Path(of("PORTFOLIO_SCHEDULER_KEYS") or platformdirs.user_config_dir(APP)).expanduser().absolute()
    if keys == data or data in keys.parents:
        raise SetupProblem(
            f"The key folder {keys} lies inside the data folder {data}, so a copy of the data would carry its key. "
            "Set PORTFOLIO_SCHEDULER_KEYS to a folder outside it."
        )
    port = _whole("PORTFOLIO_SCHEDULER_PORT", of("PORTFOLIO_SCHEDULER_PORT") or "8800", PORTS)
    values = {
        "data": data,
        "keys": keys,
        "private_keys": of("PORTFOLIO_SCHEDULER_PRIVATE_KEYS"),
        "database_url": of("DATABASE_URL"),
        "groww_url": (of("PORTFOLIO_SCHEDULER_GROWW_URL") or GROWW_URL).rstrip("/"),
        "host": of("PORTFOLIO_SCHEDULER_HOST") or "127.0.0.1",
        "login_probe": _time("PORTFOLIO_SCHEDULER_LOGIN_PROBE", of("PORTFOLIO_SCHEDULER_LOGIN_PROBE") or "15:15"),
        "port": port,
        "url": _origin("PORTFOLIO_SCHEDULER_URL", of("PORTFOLIO_SCHEDULER_URL") or f"http://127.0.0.1:{port}"),
        "proxies": _networks("PORTFOLIO_SCHEDULER_PROXIES", of("PORTFOLIO_SCHEDULER_PROXIES") or ""),
        "log_level": _choice(
            "PORTFOLIO_SCHEDULER_LOG_LEVEL",
            of("PORTFOLIO_SCHEDULER_LOG_LEVEL") or "info",
            ("debug", "info", "warning", "error"),
        ),
        "log_format": _choice(
            "PORTFOLIO_SCHEDULER_LOG_FORMAT", of("PORTFOLIO_SCHEDULER_LOG_FORMAT") or "text", ("text", "json")
        ),
        "lease_seconds": _whole(
            "PORTFOLIO_SCHEDULER_LEASE_SECONDS", of("PORTFOLIO_SCHEDULER_LEASE_SECONDS") or "20", LEASES
        ),
        "clock": of("PORTFOLIO_SCHEDULER_CLOCK"),
    }
    return Settings(**values)  # type: ignore[arg-type]


def _whole(name: str, text: str, allowed: range) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) in allowed:
        return int(text)
    raise SetupProblem(f"{name} is {text!r}; it must be a number from {allowed[0]} to {allowed[-1]}.")


def _origin(name: str, text: str) -> str:
    """Scheme, host and port as browsers write them: in small letters, the usual port left out."""
    wrong = SetupProblem(
        f"{name} is {text!r}; it must be an address such as https://portfolio.example.org, without a path. "
        "http is for this machine only (127.0.0.1, localhost): passwords would cross the network in clear."
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise wrong from e
    named = f"[{host}]" if ":" in host else host
    written = f"{parts.scheme}://{named}" if port is None else f"{parts.scheme}://{named}:{port}"
    if text.lower().removesuffix("/") != written or not re.fullmatch(r"\[[0-9a-f:.]+\]|[a-z0-9.-]+", named):
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise wrong
    return written.removesuffix(USUAL_PORTS[parts.scheme])


def _networks(name: str, text: str) -> tuple[str, ...]:
    try:
        found = tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as e:
        raise SetupProblem(
            f"{name} is {text!r}; it must be networks such as 127.0.0.1/32 or 10.1.0.0/16, with commas between ({e})."
        ) from e
    if any(network.prefixlen == 0 for network in found):
        raise SetupProblem(f"{name} is {text!r}; the whole internet is no proxy: anybody could forge an address.")
    return tuple(map(str, found))


def _time(name: str, text: str) -> time:
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text, re.ASCII)
    if found is None:
        raise SetupProblem(f"{name} is {text!r}; it must be a time of day such as 15:15.")
    return time(int(found[1]), int(found[2]))


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text.lower() in choices:
        return text.lower()
    raise SetupProblem(f"{name} is {text!r}; it must be one of {', '.join(choices)}.")
