"""The interactive page at `/docs`: everything comes from this server, and its policy forbids all else."""

import re
from html.parser import HTMLParser
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from portfolio_scheduler.web.routes.explorer import ASSETS, FOLDER
from tests.web.conftest import Site

ROOT = Path(__file__).parents[2]
FETCHED = {"src", "href", "action", "data", "poster", "srcset"}
HOST = re.compile(r"(?:https?:)?//[\w.-]+\.\w+", re.IGNORECASE)


class Page(HTMLParser):
    """What a page fetches, and what it runs of its own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetches: list[str] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.fetches += [value or "" for name, value in attrs if name in FETCHED]
        self.inline += [f"{name}={value}" for name, value in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"} and data.strip():
            self.inline.append(data)


async def test_the_page_and_all_it_fetches_come_from_this_server(site: Site) -> None:
    answer = await site.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    page = Page(answer.text)
    assert set(page.fetches) == {f"/docs/{asset}" for asset in ASSETS}
    for address in page.fetches:
        asset = await site.client.get(address)
        assert asset.status_code == 200
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert asset.headers["content-type"].partition(";")[0] == ASSETS[address.removeprefix("/docs/")]
        assert len(asset.content) > 100


async def test_the_pages_policy_lets_nothing_in_from_elsewhere(site: Site) -> None:
    policy = (await site.client.get("/docs")).headers["content-security-policy"]
    directives = {
        name: set(rest.split()) for name, _, rest in (each.strip().partition(" ") for each in policy.split(";"))
    }
    assert directives["default-src"] == {"'none'"}
    assert directives["img-src"] == {"'self'", "data:"}
    assert directives["report-uri"] == {"/csp-reports"}
    others = {name: sources for name, sources in directives.items() if name not in {"img-src", "report-uri"}}
    assert all(sources <= {"'self'", "'none'"} for sources in others.values()), policy
    assert {"frame-ancestors", "base-uri", "form-action"} <= set(directives)


async def test_an_answer_that_is_no_page_runs_and_shows_nothing(site: Site) -> None:
    for path in ("/health", "/openapi.json", "/docs/explorer.js", "/docs/absent", "/absent"):
        policy = (await site.client.get(path)).headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "self" not in policy, path


async def test_the_page_names_no_host_and_runs_no_text_of_its_own(site: Site) -> None:
    for name in ("page.html", "explorer.js"):
        assert not HOST.findall((FOLDER / name).read_text()), name
    assert not Page((FOLDER / "page.html").read_text()).inline
    assert Page("<p onclick='x()'>").inline  # the check sees what it looks for
    assert Page("<script>alert(1)</script>").inline
    assert HOST.findall("src='//cdn.example.com/x.js'")


async def test_nothing_but_the_pages_parts_can_be_read(site: Site) -> None:
    for name in ("README.md", "page.html", "..%2fserver.py", "%2e%2e/server.py", "x.js", "explorer.js%00"):
        assert (await site.client.get(f"/docs/{name}")).status_code in {400, 404}, name


async def test_the_licence_of_what_others_wrote_is_shipped(site: Site) -> None:
    assert "Apache License" in (FOLDER / "LICENSE").read_text()
    assert "SmartBear" in (FOLDER / "NOTICE").read_text()


def test_the_page_is_part_of_the_wheel() -> None:
    shipped = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = "portfolio_scheduler/web/explorer"
    assert {f"{folder}/{name}" for name in ("page.html", "LICENSE", "NOTICE", *ASSETS)} <= shipped
