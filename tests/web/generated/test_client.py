"""The OpenAPI document is good enough to generate a client from: one is, and reads and asks what a person would."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import UUID

import httpx
import pytest

from tests.web.conftest import ADDRESS
from tests.web.generated.operations import operations
from tests.web.generated.town import Town

PACKAGE = "generated_portfolio_client"
CONFIG = f"post_hooks: []\npackage_name_override: {PACKAGE}\n"


@pytest.fixture(scope="module")
def said(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of the client, importable, and what its generator said."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(town.document))
    (folder / "config.yml").write_text(CONFIG)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"),
            *("--config", "config.yml", "--meta", "none", "--output-path", PACKAGE),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE, f"{ran.stdout}{ran.stderr}exit {ran.returncode}"
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def module(name: str) -> ModuleType:
    return __import__(f"{PACKAGE}.{name}", fromlist=["*"])


def test_the_generator_understands_every_operation(town: Town, said: tuple[Path, str]) -> None:
    folder, text = said
    assert "exit 0" in text, text
    assert "WARNING" not in text, text
    made = {file.stem for file in (folder / "api").rglob("*.py")}
    assert {operation.name for operation in operations(town.document)} <= made


def test_the_client_reads_what_is_there_and_asks_for_a_sync(town: Town, said: tuple[Path, str]) -> None:
    asha, ids = town.fresh("asha"), town.ids_of("asha")
    client = module("client").AuthenticatedClient(base_url=ADDRESS, token=asha.token)
    transport = httpx.ASGITransport(app=town.site.web)  # type: ignore[arg-type]
    client.set_async_httpx_client(
        httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers={"Authorization": f"Bearer {asha.token}"})
    )
    accounts = town.run(module("api.accounts.list_accounts").asyncio(client=client))
    assert [str(account.id) for account in accounts.items] == [ids["account_id"]]
    account_id: UUID = accounts.items[0].id
    holdings = town.run(module("api.portfolio.list_holdings").asyncio(account_id, client=client))
    assert len(holdings.items) > 10
    assert all(isinstance(holding.quantity, str) for holding in holdings.items)  # exact, as decimals are written
    wish = module("models.sync_wish").SyncWish(account_id=account_id)
    queued = town.run(module("api.syncs.sync").asyncio(client=client, body=wish, idempotency_key="once"))
    again = town.run(module("api.syncs.sync").asyncio(client=client, body=wish, idempotency_key="once"))
    assert [batch.status for batch in queued.batches] == ["queued"]
    assert [batch.id for batch in again.batches] == [batch.id for batch in queued.batches]
    town.run(client.get_async_httpx_client().aclose())


def test_the_client_understands_a_refusal(town: Town, said: tuple[Path, str]) -> None:
    client = module("client").AuthenticatedClient(base_url=ADDRESS, token="none")
    transport = httpx.ASGITransport(app=town.site.web)  # type: ignore[arg-type]
    client.set_async_httpx_client(httpx.AsyncClient(transport=transport, base_url=ADDRESS))
    refused = town.run(module("api.accounts.list_accounts").asyncio(client=client))
    assert (refused.type_, refused.status) == ("login_required", 401)
    town.run(client.get_async_httpx_client().aclose())


def test_no_two_schemas_share_a_title(town: Town) -> None:
    """Generators name their classes by them."""
    titles = Counter(schema["title"] for schema in town.document["components"]["schemas"].values())
    assert [title for title, times in titles.items() if times > 1] == []
