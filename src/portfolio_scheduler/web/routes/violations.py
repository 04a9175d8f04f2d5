"""What browsers report of pages that tried what their policy forbids: something got into a page, or we erred."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Request, post
from litestar.status_codes import HTTP_204_NO_CONTENT
from msgspec import Struct, field

from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.log import logger
from portfolio_scheduler.web.entry import From

PATH = "/csp-reports"
LONGEST = 100  # characters of a field that reach the log: anybody can send a report

log = logger()


class Violation(Struct, frozen=True, kw_only=True):
    """What we read of a report; browsers send more."""

    page: str = field(name="document-uri", default="")
    directive: str = field(name="effective-directive", default="")
    blocked: str = field(name="blocked-uri", default="")


class Report(Struct, frozen=True, kw_only=True):
    violation: Violation = field(name="csp-report")


@post(PATH, status_code=HTTP_204_NO_CONTENT, include_in_schema=False, body_type="application/csp-report")
async def hear_violation(request: Request[Any, Any, Any], address: From) -> None:
    """Write a report to the log, of addresses the host or path only."""
    try:
        told = msgspec.json.decode(await request.body(), type=Report).violation
        page, blocked = urlsplit(told.page).path, urlsplit(told.blocked).hostname or "the page itself"
    except (msgspec.MsgspecError, ValueError) as e:
        raise InvalidInput("The body is no report of a browser about a page's policy.") from e
    log.warning(
        "a browser kept something off a page",
        path=page[:LONGEST],
        kind=told.directive[:LONGEST],
        source=blocked[:LONGEST],
        address=address,
    )


ROUTES = (hear_violation,)
