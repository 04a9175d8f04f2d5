"""What the routes work with: the product, the API's own connections, and the keys that sign and check tokens."""

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.identity.tokens import Signer, Verifier
from portfolio_scheduler.jobs import Pulse
from portfolio_scheduler.web.bodies import Bodies


class Place(Struct, frozen=True, kw_only=True):
    """One per process."""

    app: App
    pool: Pool  # as the API's role: row-level security shows it what its viewer may see
    signer: Signer
    verifier: Verifier
    pulse: Pulse | None  # None where no worker runs beside the web
    bodies: Bodies
    revision: str  # of the tables this release works with
