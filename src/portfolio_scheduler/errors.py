"""Every error the product raises on purpose. A message says what was found, what was expected and what to do."""

from typing import ClassVar


class PortfolioSchedulerError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[int] = 1  # what the command line returns for it

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class NotFound(PortfolioSchedulerError):
    """There is no such thing."""

    exit_code = 2


class Conflict(PortfolioSchedulerError):
    """It is already there, or something else holds it."""


class InvalidInput(PortfolioSchedulerError):
    """The input is not usable."""

    exit_code = 2


class Unprocessable(InvalidInput):
    """The input is well formed, and yet cannot be taken."""


class NotAllowed(PortfolioSchedulerError):
    """You may not do that."""


class LoginRequired(NotAllowed):
    """Log in first: there was no valid token."""


class SecondFactorRequired(LoginRequired):
    """The password is right; a code of the second factor is needed as well."""


class SecondFactorMissing(NotAllowed):
    """This login has no second factor."""


class RecentLoginRequired(NotAllowed):
    """Give your password again: POST /auth/reauthenticate."""


class TooMany(PortfolioSchedulerError):
    """Too many tries; wait."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 60) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NoWorker(PortfolioSchedulerError):
    """No worker took this up in time, so nothing was changed or kept. Start one, or try again."""


class QueueFull(PortfolioSchedulerError):
    """Too much waits for the workers already; nothing was changed or kept. Try again in a minute."""


class TokenRefused(LoginRequired):
    """This token is not valid here: expired, altered, or of another kind. Log in again."""

    def __init__(self, reason: str) -> None:
        super().__init__()  # the sender learns the same whatever was wrong
        self.reason = reason  # for the log; holds nothing of the token


class SetupProblem(PortfolioSchedulerError):
    """The installation is not ready: a setting, a key, a folder or the database."""

    exit_code = 2


class DatabaseUnavailable(SetupProblem):
    """The database cannot be reached, or has no connection free."""


class StorageFull(DatabaseUnavailable):
    """The disk of the database is full, so nothing can be written: make room; syncs then go on by themselves."""


class SecretUnreadable(SetupProblem):
    """A sealed secret cannot be opened: altered, moved, or sealed with a key that is gone."""


class Fenced(PortfolioSchedulerError):
    """Another worker has taken this batch over; this one must not write."""


class BrokerError(PortfolioSchedulerError):
    """A broker call failed. Carries the call's name, never credentials and never a payload."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, call: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.call = call  # which read it was, e.g. "holdings"
        self.status = status  # HTTP status, when there was one


class BrokerUnavailable(BrokerError):
    """The broker could not be reached or answered with an error of its own; trying later may help."""

    retryable = True


class BrokerThrottled(BrokerError):
    """The broker asks us to slow down."""

    retryable = True

    def __init__(
        self,
        message: str | None = None,
        *,
        call: str | None = None,
        status: int | None = 429,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, call=call, status=status)
        self.retry_after_seconds = retry_after_seconds


class BrokerLoginRequired(BrokerError):
    """The broker does not accept the login; the owner must act."""


class BrokerNotEntitled(BrokerError):
    """The broker account is not entitled to this call (403); the rest goes on without it."""


class BrokerRefused(BrokerError):
    """The broker understood the call and refused it (unknown entity, invalid symbol)."""

    def __init__(
        self, message: str | None = None, *, call: str | None = None, status: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, call=call, status=status)
        self.code = code  # the broker's error code, e.g. "GA001"


class BrokerAnswerUnknown(BrokerError):
    """The broker's answer is not what we know; its payload is kept."""
