"""What the operations of the interface share: who calls, the services, and which questions somebody may see."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from chimera.app import App
from chimera.core.errors import CallerUnknown, InputError, NotThere
from chimera.guards.decisions import Decisions
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.reviewing import Reviewing
from chimera.guards.settling import ALIKE, question_entity
from chimera.review.queue import Asked
from chimera.review.work import Card, Which
from chimera.server.bearer import KnownUser
from chimera.server.callers import Caller
from chimera.server.desk import Desk
from chimera.server.keeper import Keeper


@dataclass(frozen=True)
class Office:
    """The services behind the interface."""

    app: App
    keeper: Keeper
    desk: Desk

    @property
    def decisions(self) -> Decisions:
        """The one way in which a human's word takes effect."""
        return self.app.context.oversight.decisions

    @property
    def desk_of_reviewers(self) -> Reviewing:
        """What people do with questions besides answering them."""
        return self.decisions.desk

    async def seen(self, caller: Caller, item_id: str) -> Card:
        """A question of the caller's tenant that he may see; of another tenant there is none.

        Raises:
            NotThere: there is none. GuardRejected: the caller may not see it.
        """
        oversight = self.app.context.oversight
        try:
            card = await self.desk_of_reviewers.work.card(item_id)
        except InputError:
            raise _unknown(item_id) from None
        if card.tenant != caller.tenant:  # in the very words of a question that there is not
            raise _unknown(item_id)
        await oversight.people.require(
            caller.name, "review.read", _entity(card), caller.tenant, mission_id=card.item.mission_id
        )
        return card

    async def queue(self, caller: Caller, which: Which, limit: int, after: str | None) -> tuple[list[Card], str | None]:
        """The open questions that a caller may see, the most urgent first, and where the listing goes on.

        Raises:
            InputError: ``after`` is no cursor.
        """
        people, work = self.app.context.oversight.people, self.desk_of_reviewers.work
        cards = await work.listed(caller.tenant, which, limit=limit, after=after)
        rulings: dict[str, bool] = {}
        for looks, entity in {_looks(card): _entity(card) for card in cards}.items():
            alike = Entity(Uid("Review", ALIKE), entity.attributes)
            rulings[looks] = bool(await people.may(caller.name, "review.read", alike, caller.tenant))
        more = cards[-1].cursor if len(cards) == limit else None
        return [card for card in cards if rulings[_looks(card)]], more

    async def told(self, caller: Caller, card: Card) -> dict[str, Any]:
        """A question as it is told: to people as it is, to programs past the guards, as they may be agents."""
        plain = {**card.plain(), "withheld": False}
        if caller.kind == "human":
            return plain
        passed = await self.desk.question(caller, card.item)
        shown = {name: passed.get(name, empty) for name, empty in (("question", ""), ("reasons", []), ("payload", {}))}
        said = {**card.decision.plain(), "reason": "", "payload": None} if card.decision else None
        return {**plain, **shown, "decision": said, "withheld": bool(passed.get("withheld"))}

    async def all_told(self, caller: Caller, cards: Sequence[Card]) -> list[dict[str, Any]]:
        """Several questions as they are told."""
        return [await self.told(caller, card) for card in cards]


def _entity(card: Card) -> Entity:
    return question_entity(Asked(card.item, card.tenant, card.decision))


def _looks(card: Card) -> str:
    return json.dumps(_entity(card).attributes, sort_keys=True)


def _unknown(item_id: str) -> NotThere:
    return NotThere(f"no review item {item_id}")


def _office(request: Request) -> Office:
    return request.app.state.office


def _caller(request: Request) -> Caller:
    """Who makes the request.

    Raises:
        CallerUnknown: nobody is known to.
    """
    user: object = request.scope.get("user")
    if not isinstance(user, KnownUser):
        raise CallerUnknown
    return user.caller


Here = Annotated[Office, Depends(_office)]
Who = Annotated[Caller, Depends(_caller)]
