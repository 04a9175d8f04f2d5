"""How often a recipe is repeated: a tenth in `make test`, all of it in `make proof`."""

import os

PROOF = os.environ.get("PROOF") == "1"


def scaled(full: int, share: int = 10) -> int:
    """The full number under `make proof`, else its share, at least 1."""
    return full if PROOF else max(full // share, 1)
