"""One populated town for all tests of this folder, made once per file."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Database, copied
from tests.web.generated.town import Town, founded


@pytest.fixture(scope="module")
def town(template: Database, admin: psycopg.Connection[tuple[object, ...]]) -> Iterator[Town]:
    with copied(template, admin) as database, founded(database) as made:
        yield made
