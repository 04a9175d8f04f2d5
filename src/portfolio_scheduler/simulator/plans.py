"""What the kinds of account do on a day. Each plan is made before the open from the account's state and the seed
alone."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.contracts import UNDERLYINGS, Contract
from portfolio_scheduler.simulator.desk import Scripted
from portfolio_scheduler.simulator.holdings import Holding
from portfolio_scheduler.simulator.instruments import made_up_stock
from portfolio_scheduler.simulator.market import Stock
from portfolio_scheduler.simulator.options import Load
from portfolio_scheduler.simulator.orders import Ticket
from portfolio_scheduler.simulator.positions import Position, PositionKey
from portfolio_scheduler.simulator.wall import wall_at

TICK = Decimal("0.05")
REJECTIONS = (
    "Order rejected: insufficient funds",
    "Order rejected: the price is outside the day's circuit limits",
    "Order rejected: the instrument is under surveillance, intraday orders are not allowed",
)


class Day:
    """A day to be planned: the account, its chance, and short words for times, prices and orders."""

    def __init__(self, account: Account, on: date) -> None:
        self.account = account
        self.on = on
        self.random: Random = account.random(on.isoformat())

    def at(self, hour: int, minute: int = 0, *, spread: int = 1800) -> int:
        """A moment from this time on, within so many seconds."""
        return wall_at(self.on, hour, minute) + self.random.randrange(spread)

    def any_stock(self) -> Stock:
        return self.random.choice(self.account.instruments.stocks_on(self.on))

    def last_close(self, symbol: str) -> Decimal:
        market = self.account.instruments.market
        return Decimal(market.paise(symbol, wall_at(self.on, 9))).scaleb(-2)

    def limit(self, price: Decimal, permille: int) -> Decimal:
        """A price so many thousandths away, on the tick."""
        return (price * (1000 + permille) / 1000 / TICK).quantize(Decimal(1)) * TICK

    def units_for(self, symbol: str, amount: int) -> int:
        """How many shares about this many rupees buy, at least two."""
        return max(int(amount / self.last_close(symbol)), 2)

    def order(self, ticket: Ticket, at: int) -> Scripted:
        return Scripted(self.account, ticket, at)

    def stock_ticket(self, stock: Stock | Holding, side: str, quantity: int, **more: object) -> Ticket:
        return Ticket(symbol=stock.symbol, isin=stock.isin, transaction_type=side, quantity=quantity, **more)  # type: ignore[arg-type]


def pay_in(day: Day, *, below: int, amount: int) -> None:
    """Money arrives before the open when little is left, so that no account ever owes."""
    while day.account.cash < below:
        day.account.cash += amount


def buy_shares(day: Day, amount: int) -> None:
    stock = day.any_stock()
    quantity = day.units_for(stock.symbol, amount)
    price = day.limit(day.last_close(stock.symbol), 8)
    at = day.at(10, spread=7200)
    order = day.order(day.stock_ticket(stock, "BUY", quantity, price=price), at)
    first = quantity // 2 if day.random.random() < 0.3 else quantity
    order.filled(at + 20, first)
    order.filled(at + 1500)


def sell_shares(day: Day) -> None:
    """Part or all of something that is held and settled."""
    settled = [holding for holding in day.account.holdings.values() if holding.free > 1]
    if len(settled) < 4:
        return
    holding = day.random.choice(settled)
    quantity = holding.free if day.random.random() < 0.3 else holding.free // 2
    at = day.at(11, spread=9000)
    day.order(day.stock_ticket(holding, "SELL", quantity, order_type="MARKET"), at).filled(at + 3)


# A quiet investor


def plan_quiet(account: Account, on: date) -> None:
    day = Day(account, on)
    pay_in(day, below=30_000, amount=75_000)
    chance = day.random.random()
    if chance < 0.16:
        buy_shares(day, 18_000)
    elif chance < 0.22:
        sell_shares(day)


# A saver under the approval login


def plan_saver(account: Account, on: date) -> None:
    day = Day(account, on)
    pay_in(day, below=60_000, amount=150_000)
    if day.random.random() < 0.45:
        buy_shares(day, 30_000)
    if day.random.random() < 0.15:
        sell_shares(day)
    if day.random.random() < 0.15:
        unfilled(day)


# An active trader


def plan_trader(account: Account, on: date) -> None:
    day = Day(account, on)
    pay_in(day, below=500_000, amount=1_000_000)
    partly_filled_then_cancelled(day)
    round_trip(day)
    manage_contracts(day)
    if day.random.random() < 0.6:
        modified_then_filled(day)
    if day.random.random() < 0.5:
        rejected(day)
    if day.random.random() < 0.4:
        unfilled(day)
    if day.random.random() < 0.4:
        sell_shares(day)
    if day.random.random() < 0.3:
        buy_shares(day, 40_000)


def partly_filled_then_cancelled(day: Day) -> None:
    """Every day, whatever the seed: the trail of such an order is what the demonstration shows."""
    stock = day.any_stock()
    quantity = max(day.units_for(stock.symbol, 30_000), 4)
    price = day.limit(day.last_close(stock.symbol), 2)
    ticket = day.stock_ticket(stock, "BUY", quantity, price=price)
    order = day.order(ticket, day.at(9, 20, spread=1200))
    order.filled(day.at(10, spread=3000), max(quantity * day.random.randint(2, 6) // 10, 1))
    order.cancelled(day.at(14, spread=2400))


def round_trip(day: Day) -> None:
    """Intraday in and out; now and then the trader forgets the way out and the broker squares off."""
    stock = day.any_stock()
    quantity = day.units_for(stock.symbol, 60_000)
    sides = ("BUY", "SELL") if day.random.random() < 0.6 else ("SELL", "BUY")
    at = day.at(9, 45, spread=3600)
    entry = day.order(day.stock_ticket(stock, sides[0], quantity, order_type="MARKET", product="MIS"), at)
    entry.filled(at + 2, quantity // 2).filled(at + 4)
    if day.random.random() < 0.75:
        at = day.at(13, spread=5400)
        day.order(day.stock_ticket(stock, sides[1], quantity, order_type="MARKET", product="MIS"), at).filled(at + 2)


def modified_then_filled(day: Day) -> None:
    stock = day.any_stock()
    quantity = day.units_for(stock.symbol, 25_000)
    price = day.limit(day.last_close(stock.symbol), -15)
    at = day.at(9, 30)
    order = day.order(day.stock_ticket(stock, "BUY", quantity, price=price), at)
    order.modified(at + 3000, quantity=quantity + 1, price=day.limit(price, 30))
    order.filled(at + 4000)


def rejected(day: Day) -> None:
    stock = day.any_stock()
    at = day.at(11)
    ticket = day.stock_ticket(stock, "BUY", 500, price=day.limit(day.last_close(stock.symbol), 1), product="MIS")
    Scripted(day.account, ticket, at, acknowledged=False).rejected(at + 1, day.random.choice(REJECTIONS))


def unfilled(day: Day) -> None:
    stock = day.any_stock()
    price = day.limit(day.last_close(stock.symbol), -120)
    day.order(day.stock_ticket(stock, "BUY", day.units_for(stock.symbol, 20_000), price=price), day.at(10))


def manage_contracts(day: Day) -> None:
    """Close what expires today and now and then something else; keep at least two contracts open."""
    held = [position for key, position in day.account.positions.items() if key.segment == "FNO"]
    kept = []
    for position in held:
        contract = day.account.instruments.contracts.find(position.key.symbol)
        expiring = contract is not None and contract.expiry <= day.on
        if expiring or (len(held) > 2 and day.random.random() < 0.3):
            close_contract(day, position)
        else:
            kept.append(position.key.symbol)
    wanted = 3 if day.random.random() < 0.3 else 2
    for _ in range(wanted - len(kept)):
        open_contract(day, kept)


def close_contract(day: Day, position: Position) -> None:
    at = day.at(10, spread=14_400)
    side = "SELL" if position.quantity > 0 else "BUY"
    day.order(contract_ticket(position.key.symbol, side, abs(position.quantity)), at).filled(at + 2)


def open_contract(day: Day, held: list[str]) -> None:
    contract = choose_contract(day)
    if contract.symbol in held:
        return
    held.append(contract.symbol)
    at = day.at(9, 40, spread=9000)
    lots = day.random.randint(1, 2)
    side = "BUY" if day.random.random() < 0.6 else "SELL"
    order = day.order(contract_ticket(contract.symbol, side, lots * contract.lot), at)
    order.filled(at + 2, contract.lot).filled(at + 9)


def choose_contract(day: Day) -> Contract:
    """Near the money, in the running month, or the next one when the running one ends within three days."""
    contracts = day.account.instruments.contracts
    underlying = day.random.choice(list(UNDERLYINGS))
    expiry = next(expiry for expiry in contracts.expiries(day.on) if expiry - day.on > timedelta(days=3))
    kind = day.random.choice(("FUT", "CE", "PE"))
    if kind == "FUT":
        return Contract(underlying, expiry, kind, 0)
    step = UNDERLYINGS[underlying].strike_step
    near = int(day.last_close(underlying)) // step * step + day.random.randint(-1, 2) * step
    strike = min(contracts.strikes(underlying, expiry), key=lambda strike: abs(strike - near))
    return Contract(underlying, expiry, kind, strike)


def contract_ticket(symbol: str, side: str, quantity: int) -> Ticket:
    return Ticket(
        symbol=symbol,
        transaction_type=side,
        quantity=quantity,
        order_type="MARKET",
        product="NRML",
        segment="FNO",
    )


# Beginnings


def found_with_shares(account: Account, on: date, *, count: int, amount: int, cash: int) -> None:
    """Shares bought at some close of the year before, worth about the same amount each."""
    day = Day(account, on)
    market = account.instruments.market
    last = market.days.index_at(on) - 1
    for stock in day.random.sample(account.instruments.stocks_on(on), count):
        close = market.close(stock.symbol, day.random.randint(max(last - 250, 0), max(last, 0)))
        price = Decimal(market.scaled(stock.symbol, close, on)).scaleb(-2)
        quantity = max(int(Decimal(amount) * day.random.randint(3, 20) / 10 / price), 1)
        account.holdings[stock.isin] = Holding(
            isin=stock.isin, symbol=stock.symbol, free=quantity, cost=price * quantity
        )
    account.cash = Decimal(cash)


def found_quiet(account: Account, on: date) -> None:
    found_with_shares(account, on, count=account.random("size").randint(12, 18), amount=40_000, cash=120_000)


def found_saver(account: Account, on: date) -> None:
    found_with_shares(account, on, count=account.random("size").randint(8, 14), amount=30_000, cash=200_000)


def found_trader(account: Account, on: date) -> None:
    found_with_shares(account, on, count=account.random("size").randint(14, 24), amount=80_000, cash=2_500_000)


# Accounts of exactly some size


def found_load(account: Account, on: date, load: Load) -> None:
    stocks = account.instruments.stocks_on(on)
    chosen = [stocks[number] if number < len(stocks) else made_up_stock(number) for number in range(load.holdings)]
    for number, stock in enumerate(chosen):
        quantity = 1000 + number
        price = account.price(Ticket(symbol=stock.symbol, transaction_type="BUY", quantity=1), wall_at(on, 9))
        account.holdings[stock.isin] = Holding(
            isin=stock.isin, symbol=stock.symbol, free=quantity, cost=price * quantity
        )
    account.cash = Decimal(100_000_000)
    if load.positions:
        add_contracts(account, on, load.positions)


def add_contracts(account: Account, on: date, count: int) -> None:
    """Long positions carried in from the day before, the farthest series first so that they live long."""
    keys = [
        PositionKey("FNO", "NSE", contract.symbol, "NRML")
        for contract in account.instruments.contracts.longest_lived(on)
    ]
    new = [key for key in keys if key not in account.positions][: max(count, 0)]
    for contract, key in ((account.instruments.contracts.find(key.symbol), key) for key in new):
        assert contract is not None
        price = account.price(contract_ticket(contract.symbol, "BUY", contract.lot), wall_at(on, 9))
        account.positions[key] = Position(
            key=key, isin="", carried=contract.lot, carried_price=price, quantity=contract.lot, entry_price=price
        )


def plan_load(account: Account, on: date, load: Load) -> None:
    """As many positions as ever, and orders spread over the session in shares that are held. The first of these are
    executed at once."""
    holdings = list(account.holdings.values()) or [Holding(isin="INE002A01018", symbol="RELIANCE", free=0)]
    day = Day(account, on)
    carried = sum(1 for key in account.positions if key.segment == "FNO")
    add_contracts(account, on, load.positions - carried)  # in the place of those that have expired
    for number in range(load.orders):
        at = wall_at(on, 9, 20) + number * 20_000 // load.orders
        holding = holdings[number % len(holdings)]
        order = day.order(day.stock_ticket(holding, "BUY", 1, order_type="MARKET"), at)
        if number < load.filled:
            order.filled(at + 5)


Founder = Callable[[Account, date], None]
KINDS: dict[str, tuple[Founder, Callable[[Account, date], None]]] = {
    "quiet": (found_quiet, plan_quiet),
    "trader": (found_trader, plan_trader),
    "approval": (found_saver, plan_saver),
}
