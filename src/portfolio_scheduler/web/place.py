"""What the routes work with: the product, the API's own connections, and the keys that sign and check tokens."""

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.db.lines import Lines
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.identity.factor_box import FactorBox
from portfolio_scheduler.identity.passwords import STRONG, Argon2Cost
from portfolio_scheduler.identity.signing import Keyring
from portfolio_scheduler.identity.tokens import Signer, Verifier
from portfolio_scheduler.jobs import Pulse
from portfolio_scheduler.web.bodies import Bodies
from portfolio_scheduler.web.live import Live
from portfolio_scheduler.web.pace import Pace
from portfolio_scheduler.web.repeats import Repeats


class Strictness(Struct, frozen=True, kw_only=True):
    """What only tests and benchmarks relax: they log in by the thousand, on a clock that stands still."""

    cost: Argon2Cost = STRONG
    requests_a_minute: int | None = 120  # of one person; None for any number


class Place(Struct, frozen=True, kw_only=True):
    """One per process."""

    app: App
    pool: Pool  # as the API's role: row-level security shows it what its viewer may see
    lines: Lines  # the same, for the reads that are asked most
    keyring: Keyring
    signer: Signer
    verifier: Verifier
    factors: FactorBox
    cost: Argon2Cost  # of a new password's hash
    pace: Pace
    live: Live
    pulse: Pulse | None  # None where no worker runs beside the web
    bodies: Bodies
    repeats: Repeats
    revision: str  # of the tables this release works with
    patience_seconds: float = 20  # for a worker to do what somebody waits for
