"""Everything the simulated broker knows: the market, the accounts (made when first asked for) and the time."""

from datetime import date, datetime
from functools import partial

from portfolio_scheduler.clock import Clock, StoppedClock, TickingClock
from portfolio_scheduler.errors import InvalidInput, NotFound
from portfolio_scheduler.simulator import plans
from portfolio_scheduler.simulator.accounts import Account, Login, make_login
from portfolio_scheduler.simulator.corporate_actions import CorporateAction, CorporateActions
from portfolio_scheduler.simulator.ex_dates import credit, take_effect
from portfolio_scheduler.simulator.instruments import Instruments
from portfolio_scheduler.simulator.market import Market, adjusted
from portfolio_scheduler.simulator.options import Quirks, SimulatorOptions
from portfolio_scheduler.simulator.sessions import start_session
from portfolio_scheduler.simulator.wall import date_of, instant_of, wall_at, wall_of

HISTORY_SESSIONS = 20  # how long before the first day accounts began to trade, unless told


class World:
    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.actions = CorporateActions(options.actions)
        self.market = Market(options.seed, self.actions.scaled if options.actions else adjusted)
        self.instruments = Instruments(self.market, self.actions if options.actions else None)
        start = instant_of(wall_at(options.on, 9))
        self._clock: StoppedClock | TickingClock = TickingClock(start) if options.ticking else StoppedClock(start)
        self.opened_on = self._opening_day()
        kinds = options.kinds
        self.logins = [
            make_login(options.seed, number, kinds[(number - 1) % len(kinds)])
            for number in range(1, options.accounts + 1)
        ]
        self.number_of_key = {login.api_key: login.number for login in self.logins}
        self._accounts: dict[int, Account] = {}
        self._quirks = options.quirks

    def _opening_day(self) -> date:
        days, options = self.market.days, self.options
        sessions = 0 if options.load is not None else HISTORY_SESSIONS
        wanted = options.opened_on or days.back(options.on, sessions)
        opened_on = days.at_or_after(wanted)
        return opened_on if opened_on is not None else days.last

    @property
    def quirks(self) -> Quirks:
        return self._quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        self._quirks = quirks
        for account in self._accounts.values():
            account.quirks = quirks
            account.forget_answers()

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def now(self) -> int:
        """The wall second."""
        return wall_of(self._clock.now())

    @property
    def today(self) -> date:
        return date_of(self.now)

    def set_clock(self, at: datetime) -> None:
        """Move the time forward; what is due in between happens when an account is next looked at, in order."""
        if at.tzinfo is None:
            raise InvalidInput(f"The time {at} has no offset; write it like 2026-04-24T16:00:00+05:30.")
        now = self._clock.now()
        if at < now:
            raise InvalidInput(f"The clock only goes forward: {at.isoformat()} is before {now.isoformat()}.")
        self._clock.set(at)

    def set_ticking(self, *, ticking: bool) -> None:
        now = self._clock.now()
        self._clock = TickingClock(now) if ticking else StoppedClock(now)

    @property
    def is_ticking(self) -> bool:
        return isinstance(self._clock, TickingClock)

    def login(self, number: int) -> Login:
        if not 1 <= number <= len(self.logins):
            raise NotFound(f"There is no account {number}; there are {len(self.logins)}.")
        return self.logins[number - 1]

    def account(self, number: int) -> Account:
        """The account as it is now."""
        account = self._accounts.get(number)
        if account is None:
            account = self._accounts[number] = self._make_account(self.login(number))
        account.catch_up(self.now)
        return account

    def _make_account(self, login: Login) -> Account:
        account = Account(login, self.options.seed, self.instruments, self.quirks)
        load = self.options.load
        if load is None:
            found, plan = plans.KINDS[login.kind]
        else:
            found, plan = partial(plans.found_load, load=load), partial(plans.plan_load, load=load)
        found(account, self.opened_on)
        self._plan_actions(account)
        start_session(account, self.opened_on, plan)
        return account

    def _plan_actions(self, account: Account) -> None:
        for action in self.actions.all:
            if action.on > self.opened_on:
                _plan_action(account, action)


def _plan_action(account: Account, action: CorporateAction) -> None:
    account.plan(wall_at(action.on, 8), lambda _: take_effect(account, action))
    if action.credited_on is not None:
        account.plan(wall_at(action.credited_on, 8), lambda _: credit(account, action))
