"""How much of a proof runs: a share of it with every test run, all of it with `make proof`."""

import os

FULL = os.environ.get("PROOF") == "1"


def scaled(full: int, share: int = 10) -> int:
    """All under PROOF=1, else one part of `share`, at least 1."""
    return full if FULL else max(full // share, 1)
