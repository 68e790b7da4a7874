"""What a customer service's system knows, and what it would refuse: the part that in the product
each action's definition plays with its `facts`.

It knows only what earlier calls of the same conversation have shown. A definition of one's own
reads the system itself and knows more; where this desk does not know, it objects to nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

TODAY = "2024-05-15"  # of the airline: it sells no flight of an earlier day
BAGGAGE, INSURANCE = 50, 30  # for each piece that is not free, for each passenger
REASONS = ("no longer needed", "ordered by mistake")

Object = dict[str, Any]


@dataclass
class Desk:
    orders: dict[str, Object] = field(default_factory=dict)
    users: dict[str, Object] = field(default_factory=dict)
    products: dict[str, Object] = field(default_factory=dict)
    reservations: dict[str, Object] = field(default_factory=dict)
    flights: dict[tuple[str, str], Object] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    # -- what a call has shown ----------------------------------------------------------------

    def learn(self, tool: str, arguments: Object, text: str, *, wrote: bool, failed: bool) -> None:
        """`text`: all that the call answered. Until something changes, what was refused will be."""
        if failed:
            self.refused[_key(tool, arguments)] = text
            return
        if wrote:
            self.refused.clear()
        try:
            shown = json.loads(text)
        except ValueError:
            return
        if tool.startswith("search_"):
            self._flights(shown, str(arguments.get("date")))
        elif isinstance(shown, dict):
            self._object(tool, arguments, shown)

    def _object(self, tool: str, arguments: Object, shown: Object) -> None:
        if "order_id" in shown:
            self.orders[shown["order_id"]] = shown
        elif "variants" in shown:
            self.products[shown["product_id"]] = shown
        elif "payment_methods" in shown and "user_id" in arguments:
            self.users[arguments["user_id"]] = shown
        elif "reservation_id" in shown:
            self._spend(tool, arguments, shown)
            self.reservations[shown["reservation_id"]] = shown

    def _flights(self, shown: Any, date: str) -> None:
        for one in shown:
            for flight in one if isinstance(one, list) else [one]:
                self.flights[flight["flight_number"], flight.get("date") or date] = flight

    def _spend(self, tool: str, arguments: Object, shown: Object) -> None:
        """What a booking or a change took from a card or a certificate."""
        methods = self.users.get(shown["user_id"], {}).get("payment_methods", {})
        paid = shown["payment_history"]
        if tool == "book_reservation":
            spent = [(one["payment_id"], one["amount"]) for one in paid]
        elif tool.startswith("update_") and "payment_id" in arguments:
            before = len(self.reservations.get(shown["reservation_id"], shown)["payment_history"])
            spent = [(one["payment_id"], one["amount"]) for one in paid[before:]]
        else:
            spent = []
        for name, amount in spent:
            if methods.get(name, {}).get("source") == "certificate":
                del methods[name]
            elif "amount" in methods.get(name, {}):
                methods[name]["amount"] -= amount

    # -- what it would say to a call ----------------------------------------------------------

    def objection(self, tool: str, arguments: Object) -> str:
        """Why the tool would refuse; empty where nothing that is known speaks against it."""
        rule = RULES.get(tool)
        return next(rule(self, arguments), "") if rule else ""

    def facts(self, tool: str, arguments: Object) -> Object:
        """Arguments of another form than the tool's are for the tool to refuse."""
        try:
            why = self.objection(tool, arguments)
        except (KeyError, TypeError, AttributeError):
            why = ""
        again = self.refused.get(_key(tool, arguments), "")
        why = why or (f"it was refused before: {again}" if again else "")
        return {"would_fail": bool(why), "why": why}

    def method(self, user_id: str, name: str) -> Object | None:
        """A way to pay; {} where the user is not known."""
        if user_id not in self.users:
            return {}
        found: Object | None = self.users[user_id]["payment_methods"].get(name)
        return found

    def variant(self, product_id: str, item_id: str) -> Object | None:
        if product_id not in self.products:
            return {}
        found: Object | None = self.products[product_id]["variants"].get(item_id)
        return found


def _key(tool: str, arguments: Object) -> str:
    return json.dumps([tool, arguments], sort_keys=True)


def _state(order: Object, wanted: str) -> Iterator[str]:
    if order and order["status"] != wanted:
        yield f"order {order['order_id']} is {order['status']}, not {wanted}"


def _items(order: Object, wanted: list[str]) -> Iterator[str]:
    there = Counter(item["item_id"] for item in order["items"])
    for item, number in Counter(wanted).items():
        if number > there[item]:
            yield f"item {item} is not in order {order['order_id']} that often"


def _payment(desk: Desk, user: str, name: str, due: float) -> Iterator[str]:
    method = desk.method(user, name)
    if method is None:
        yield f"payment method {name} is not in the customer's profile"
    elif method.get("source") == "gift_card" and method.get("balance", due) < due:
        yield f"gift card {name} has {method['balance']}, and {due:.2f} are due"


def _cancel_order(desk: Desk, arguments: Object) -> Iterator[str]:
    yield from _state(desk.orders.get(arguments["order_id"], {}), "pending")
    if arguments["reason"] not in REASONS:
        yield f"{arguments['reason']!r} is no reason to cancel"


def _pending(desk: Desk, arguments: Object) -> Iterator[str]:
    yield from _state(desk.orders.get(arguments["order_id"], {}), "pending")


def _change_payment(desk: Desk, arguments: Object) -> Iterator[str]:
    order = desk.orders.get(arguments["order_id"], {})
    yield from _state(order, "pending")
    if order:
        paid = order["payment_history"]
        yield from _payment(
            desk, order["user_id"], arguments["payment_method_id"], paid[0]["amount"]
        )
        if paid[-1]["payment_method_id"] == arguments["payment_method_id"]:
            yield "the new payment method is the old one"


def _return(desk: Desk, arguments: Object) -> Iterator[str]:
    order = desk.orders.get(arguments["order_id"], {})
    yield from _state(order, "delivered")
    if not order:
        return
    yield from _items(order, arguments["item_ids"])
    name = arguments["payment_method_id"]
    yield from _payment(desk, order["user_id"], name, 0)
    original = order["payment_history"][0]["payment_method_id"]
    if name != original and not name.startswith("gift_card"):
        yield f"the money goes back to {original} or to a gift card"


def _swap(state: str) -> Callable[[Desk, Object], Iterator[str]]:
    def swap(desk: Desk, arguments: Object) -> Iterator[str]:
        order = desk.orders.get(arguments["order_id"], {})
        yield from _state(order, state)
        old, new = arguments["item_ids"], arguments["new_item_ids"]
        if len(old) != len(new):
            yield f"{len(old)} items cannot become {len(new)}"
        if not order:
            return
        yield from _items(order, old)
        due, complete = 0.0, True
        for before, after in zip(old, new, strict=False):
            item = next(one for one in order["items"] if one["item_id"] == before)
            variant = desk.variant(item["product_id"], after)
            if variant is None or variant.get("available") is False:
                yield f"{after} is no available variant of {item['name']}"
            complete = complete and bool(variant)
            due += (variant or {}).get("price", 0) - item["price"]
        user = order["user_id"]
        yield from _payment(desk, user, arguments["payment_method_id"], due if complete else 0)

    return swap


def _legs(desk: Desk, legs: list[Object], cabin: str, seats: int) -> Iterator[str]:
    for leg in legs:
        number, date = leg["flight_number"], leg["date"]
        if date < TODAY:
            yield f"flight {number} of {date} has left"
        known = desk.flights.get((number, date), {})
        if known and known["available_seats"][cabin] < seats:
            yield f"flight {number} of {date} has no {seats} seats left in {cabin}"


def _book(desk: Desk, arguments: Object) -> Iterator[str]:
    cabin, people = arguments["cabin"], len(arguments["passengers"])
    yield from _legs(desk, arguments["flights"], cabin, people)
    for one in arguments["payment_methods"]:
        method = desk.method(arguments["user_id"], one["payment_id"])
        if method is None:
            yield f"payment method {one['payment_id']} is not in the customer's profile"
        elif method.get("amount", one["amount"]) < one["amount"]:
            yield f"{one['payment_id']} has {method['amount']}, not {one['amount']}"
    legs = [desk.flights.get((leg["flight_number"], leg["date"])) for leg in arguments["flights"]]
    known = [leg["prices"][cabin] for leg in legs if leg]
    if len(known) == len(legs):
        due = sum(known) * people + BAGGAGE * arguments["nonfree_baggages"]
        due += INSURANCE * people if arguments["insurance"] == "yes" else 0
        paid = sum(one["amount"] for one in arguments["payment_methods"])
        if paid != due:
            yield f"{due} are due, and {paid} would be paid"


def _change_flights(desk: Desk, arguments: Object) -> Iterator[str]:
    booked = desk.reservations.get(arguments["reservation_id"])
    if booked is None:
        return
    cabin, people = arguments["cabin"], len(booked["passengers"])
    kept = {
        (one["flight_number"], one["date"]): one["price"]
        for one in booked["flights"]
        if cabin == booked["cabin"]
    }
    legs = [(leg["flight_number"], leg["date"]) for leg in arguments["flights"]]
    new = [leg for leg, key in zip(arguments["flights"], legs, strict=True) if key not in kept]
    yield from _legs(desk, new, cabin, people)
    prices = [kept.get(leg, desk.flights.get(leg, {}).get("prices", {}).get(cabin)) for leg in legs]
    due: float | None = None
    if None not in prices:
        due = (sum(prices) - sum(one["price"] for one in booked["flights"])) * people
    yield from _pays(desk, booked["user_id"], arguments["payment_id"], due)


def _pays(desk: Desk, user: str, name: str, due: float | None) -> Iterator[str]:
    """The airline takes cards and gift cards for a change, no certificates."""
    method = desk.method(user, name)
    if method is None:
        yield f"payment method {name} is not in the customer's profile"
    elif method.get("source") == "certificate":
        yield "a certificate pays for no change"
    elif method.get("source") == "gift_card" and due is not None and method["amount"] < due:
        yield f"gift card {name} has {method['amount']}, and {due} are due"


def _change_baggage(desk: Desk, arguments: Object) -> Iterator[str]:
    booked = desk.reservations.get(arguments["reservation_id"])
    if booked is None:
        return
    more = arguments["nonfree_baggages"] - booked["nonfree_baggages"]
    yield from _pays(desk, booked["user_id"], arguments["payment_id"], BAGGAGE * max(0, more))


RULES: dict[str, Callable[[Desk, Object], Iterator[str]]] = {
    "cancel_pending_order": _cancel_order,
    "modify_pending_order_address": _pending,
    "modify_pending_order_payment": _change_payment,
    "modify_pending_order_items": _swap("pending"),
    "exchange_delivered_order_items": _swap("delivered"),
    "return_delivered_order_items": _return,
    "book_reservation": _book,
    "update_reservation_flights": _change_flights,
    "update_reservation_baggages": _change_baggage,
}
