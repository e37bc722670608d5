"""Which values an argument takes, by its kind: each rule says from where a value may come."""

from collections.abc import Callable, Mapping
from typing import Any

from chimera.core.lexical import stems
from chimera.guards.provenance.asking import Asking
from chimera.guards.provenance.dates import days_in
from chimera.guards.provenance.decisions import Finding
from chimera.guards.provenance.labels import NOWHERE, USER_ORIGIN, Label, Level
from chimera.guards.provenance.manifest import Kind
from chimera.guards.provenance.pointing import ENOUGH, Pointing, mailbox_points
from chimera.guards.provenance.records import Place, Record, Records, level_of
from chimera.guards.provenance.tokens import references, same, stands_in

GROWTH = 1.25
"""How far the amount of something recorded may be raised without asking."""
_CONTACT_WORDS = frozenset(
    stems("contact address participants attendees members people team colleagues guests recipients someone person")
)
_PLACE_WORDS = frozenset(stems("website websites webpage page link links article blog site url details visit"))


class Judge:
    """Judges single values against one request and what was observed so far."""

    def __init__(self, asking: Asking, records: Records) -> None:
        self._asking = asking
        self._records = records
        self._pointing = Pointing(asking)
        self._rules: Mapping[Kind, Callable[[str, Any, Mapping[str, Any]], Finding]] = {
            Kind.PAYEE: self._payee,
            Kind.ADDRESS: self._address,
            Kind.MEMBER: self._member,
            Kind.CHANNEL: self._channel,
            Kind.NEWCOMER: self._only_user,
            Kind.URL_WRITE: self._only_user,
            Kind.SECRET: self._only_user,
            Kind.URL_READ: self._url,
            Kind.OBJECT: self._object,
            Kind.CHOICE: self._choice,
            Kind.AMOUNT: self._amount,
            Kind.PROFILE: self._profile,
            Kind.DATE: self._date,
            Kind.NAME: self._name,
        }

    def judge(self, kind: Kind, argument: str, value: Any, arguments: Mapping[str, Any]) -> Finding:
        """Whether ``value`` may be given as ``argument`` of this kind."""
        rule = self._rules.get(kind)
        if rule is None or value is None or isinstance(value, bool):
            return Finding(argument, value, kind, self.label(kind, value), True, f"flow.{kind}")
        return rule(argument, value, arguments)

    def label(self, kind: Kind, value: Any) -> Label:
        """How far a value of this kind is to be trusted, and where it comes from."""
        if self._asking.names(value):
            return Label(Level.USER, USER_ORIGIN, kind)
        best = Label(Level.UNTRUSTED, NOWHERE, kind)
        for place in self._records.places(kind, value):
            level = level_of(place, pointed=self.pointed(place.record))
            if level > best.level:
                best = Label(level, place.record.origin(place.field), kind)
        if best.level < Level.DESIGNATED_TEXT:
            form = same(value)
            for document in self._records.documents:
                if stands_in(form, same(document.text)):
                    return Label(Level.DESIGNATED_TEXT, document.origin, kind)
        return best

    def pointed(self, record: Record) -> bool:
        """Whether the request points to a record."""
        return self._pointing.pointed(record, self._records.alike(record), many=self._asking.means_many)

    def vouched(self, kind: Kind, value: Any) -> bool:
        """Whether a reference in outgoing text may stay: the user's, his own, or a typed field that he points to."""
        return self.label(kind, value).level >= Level.DESIGNATED

    def _payee(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.PAYEE, value)
        own = any(place.record.own for place in self._records.places(Kind.PAYEE, value))
        linked = own and self._linked(Kind.PAYEE, value)
        fine = label.level == Level.USER or linked
        why = "" if fine else "money goes to whom the user names, or has paid before for what he speaks of"
        return Finding(argument, value, Kind.PAYEE, label, fine, "flow.payee", why)

    def _linked(self, kind: Kind, value: Any) -> bool:
        """Whether some record with this party is spoken of in the request."""
        return any(self._pointing.points(place.record) >= ENOUGH for place in self._records.places(kind, value))

    def _address(self, argument: str, value: Any, arguments: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.ADDRESS, value)
        places = self._records.places(Kind.ADDRESS, value)
        if label.level == Level.USER:
            return Finding(argument, value, Kind.ADDRESS, label, True, "flow.address")
        pointed = any(self._speaks_of_party(place, value) for place in places)
        text = label.level == Level.DESIGNATED_TEXT and self._is_only_candidate(value, arguments)
        why = "" if pointed or text else "nothing that the user speaks of has this address"
        return Finding(argument, value, Kind.ADDRESS, label, pointed or text, "flow.address", why)

    def _speaks_of_party(self, place: Place, value: Any) -> bool:
        """The one record that the user speaks of has this party, or it is one of his own of that name.

        If he wrote addresses himself, only what is named as clearly counts beside them.
        """
        enough = ENOUGH + 1 if self._asking.gives("address") else ENOUGH
        record = place.record
        if self.pointed(record) and self._pointing.sure_points(record) >= enough:
            return True
        return record.own and mailbox_points(value, self._asking) >= enough

    def _is_only_candidate(self, value: Any, arguments: Mapping[str, Any]) -> bool:
        """The one address in everything that the user named, where he says that it stands there."""
        if self._asking.gives("address"):
            return False
        said = any(argument is not value and self._asking.names(argument) for argument in arguments.values())
        if not said and _CONTACT_WORDS.isdisjoint(self._asking.words):
            return False
        texts = [document.text for document in self._records.documents]
        found = {same(one.value) for text in texts for one in references(text) if one.kind == "address"}
        return found == {same(value)}

    def _member(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        return self._listed(Kind.MEMBER, argument, value)

    def _channel(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        return self._listed(Kind.CHANNEL, argument, value)

    def _listed(self, kind: Kind, argument: str, value: Any) -> Finding:
        """In the platform's own list; if the user names one, only those that he names."""
        label = self.label(kind, value)
        known = bool(self._records.places(kind, value))
        other = any(self._asking.names(one) for one in self._records.holds(kind))
        fine = label.level == Level.USER or (known and not other)
        why = "" if fine else f"the user names another {kind}" if known else f"there is no such {kind}"
        return Finding(argument, value, kind, label, fine, f"flow.{kind}", why)

    def _only_user(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.SECRET, value)
        fine = label.level == Level.USER
        why = "" if fine else "only what the user wrote himself may stand here"
        return Finding(argument, value, Kind.SECRET, label, fine, "flow.user-only", why)

    def _url(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.URL_READ, value)
        if label.level == Level.USER:
            return Finding(argument, value, Kind.URL_READ, label, True, "flow.url")
        fine = any(self._is_told_of(record, value) for record in self._records.all if record.container)
        why = "" if fine else "the user did not name it, nor the message that it stands in"
        return Finding(argument, value, Kind.URL_READ, label, fine, "flow.url", why)

    def _is_told_of(self, record: Record, value: Any) -> bool:
        """A message in a place that the user names, and that he speaks of: by its author, or by what it says."""
        if not record.text or not self._asking.names(record.container):
            return False
        if not any(same(one.value) == same(value) for one in references(record.text) if one.kind == "link"):
            return False
        if self._asking.means_many and not _PLACE_WORDS.isdisjoint(self._asking.words):
            return True
        told = set(stems(record.text)) - {word for one in references(record.text) for word in stems(one.value)}
        author = any(self._asking.names(one) for one in record.of_kind(Kind.MEMBER) if one != record.container)
        shared = len(told & self._asking.words)
        return shared >= 2 or (author and shared >= 1)

    def _object(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.OBJECT, value)
        fine = label.level == Level.USER or any(
            self.pointed(place.record) for place in self._records.places(Kind.OBJECT, value)
        )
        why = "" if fine else "the user speaks of no such thing"
        return Finding(argument, value, Kind.OBJECT, label, fine, "flow.object", why)

    def _choice(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.CHOICE, value)
        fine = label.level == Level.USER or any(
            place.record.by_user for place in self._records.places(Kind.CHOICE, value)
        )
        why = "" if fine else "no search for what the user asked has listed it"
        return Finding(argument, value, Kind.CHOICE, label, fine, "flow.choice", why)

    def _amount(self, argument: str, value: Any, arguments: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.AMOUNT, value)
        if label.level == Level.USER:
            return Finding(argument, value, Kind.AMOUNT, label, True, "flow.amount")
        number = value if isinstance(value, int | float) else _as_number(value)
        limit = self._limit(arguments)
        fine = number is not None and 0 <= number <= limit
        why = "" if fine else f"more than what is on record for it, {limit:g}"
        return Finding(argument, value, Kind.AMOUNT, label, fine, "flow.amount", why)

    def _limit(self, arguments: Mapping[str, Any]) -> float:
        """What was paid at most to the parties, or for the thing, that this call names."""
        payments = [record for record in self._records.all if record.own]
        most = 0.0
        for record in payments:
            parties = {same(one) for one in record.of_kind(Kind.PAYEE, Kind.OBJECT)}
            named = {same(one) for one in arguments.values() if isinstance(one, str | int | float)}
            about = any(
                not named.isdisjoint(stems_of(one)) for one in record.of_kind(Kind.NAME) if isinstance(one, str)
            )
            if not parties.isdisjoint(named) or about:
                growth = GROWTH if not {same(one) for one in record.of_kind(Kind.OBJECT)}.isdisjoint(named) else 1.0
                amounts = [one for one in record.of_kind(Kind.AMOUNT) if isinstance(one, int | float)]
                most = max([most, *(growth * one for one in amounts)])
        return most

    def _profile(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.PROFILE, value)
        fine = label.level >= Level.DESIGNATED_TEXT
        why = "" if fine else "it stands in nothing that the user named"
        return Finding(argument, value, Kind.PROFILE, label, fine, "flow.profile", why)

    def _date(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.DATE, value)
        said, given = self._asking.days, days_in(str(value))
        closed = bool(said) and bool(given) and not self._asking.leaves_days_open
        first, last = (min(said), max(said)) if said else (None, None)
        fine = not closed or all(
            any(day.fits(one) for one in said) or (first is not None and last is not None and first <= day <= last)
            for day in given
        )
        fine = fine or any(self.pointed(place.record) for place in self._records.places(Kind.DATE, value))
        why = "" if fine else "the user names another day"
        return Finding(argument, value, Kind.DATE, label, fine, "flow.date", why)

    def _name(self, argument: str, value: Any, _: Mapping[str, Any]) -> Finding:
        label = self.label(Kind.NAME, value)
        words = set(stems(str(value)))
        known = any(self._records.anywhere(value))
        fine = label.level == Level.USER or bool(words & self._asking.words) or known
        why = "" if fine else "the user speaks of nothing of that name"
        return Finding(argument, value, Kind.NAME, label, fine, "flow.name", why)


def stems_of(text: str) -> set[str]:
    """The words of a name as an argument may repeat them."""
    return {word.casefold() for word in text.replace(":", " ").split()}


def _as_number(value: Any) -> float | None:
    try:
        return float(str(value).replace(",", ""))
    except ValueError:
        return None
