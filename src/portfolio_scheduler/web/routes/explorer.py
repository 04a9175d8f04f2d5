"""The interactive page at `/docs`: Swagger UI, every byte of it from this server (`web/explorer/`)."""

import asyncio
from pathlib import Path

from litestar import MediaType, Response, get
from litestar.params import FromPath

from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.web.routes.violations import PATH as REPORTS

FOLDER = Path(__file__).parents[1] / "explorer"

# Swagger UI puts no script and no style into the page's text; its icons are images inside its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    f"object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; report-uri {REPORTS}"
)
ASSETS = {
    "explorer.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
CACHED = "public, max-age=3600"


@get("/docs", include_in_schema=False, media_type=MediaType.HTML)
async def show_explorer() -> Response[bytes]:
    """The page."""
    headers = {"Content-Security-Policy": POLICY}
    page = await asyncio.to_thread((FOLDER / "page.html").read_bytes)
    return Response(page, media_type=MediaType.HTML, headers=headers)


@get("/docs/{asset:str}", include_in_schema=False)
async def show_asset(asset: FromPath[str]) -> Response[bytes]:
    """What the page is made of."""
    if asset not in ASSETS:
        raise NotFound("The page has no such part.")
    content = await asyncio.to_thread((FOLDER / asset).read_bytes)
    return Response(content, media_type=ASSETS[asset], headers={"Cache-Control": CACHED})


ROUTES = (show_explorer, show_asset)
