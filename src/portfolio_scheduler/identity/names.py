"""User names: in small letters, so that no two look alike."""

import re

from portfolio_scheduler.errors import InvalidInput

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")


def check_name(name: str) -> None:
    """Refuse a new name that is not in small letters, digits and a few signs, as `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "The field name must begin with a letter or digit and have letters (a-z), digits and . _ @ + - only, "
            "100 at most."
        )
