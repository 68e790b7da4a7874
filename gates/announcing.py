"""What has changed is shown wherever it is shown: one wish becomes one for each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gates.outbox import Delivery
from gates.ports import Errand, Notifier
from gates.service import Gates
from gates.store.repository import Unit


@dataclass
class Announcing:
    """Handles the wish for cards. `deliveries` are for the outbox: a kind for each channel."""

    gates: Gates
    notifiers: Sequence[Notifier] = ()
    deliveries: dict[str, Delivery] = field(init=False)

    def __post_init__(self) -> None:
        self.deliveries = {one.channel: one.show for one in self.notifiers}

    def __call__(self, request_id: str) -> bool:
        view = self.gates.view(request_id)
        for notifier in self.notifiers:
            errands = sorted(notifier.errands(view), key=lambda one: (one.place, one.request_id))
            if errands:
                self._wish(notifier.channel, errands)
        return True

    def _wish(self, channel: str, errands: Sequence[Errand]) -> None:
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            for one in errands:
                unit.wish(one.request_id, channel, place=one.place)
