"""The tables ``certificates`` and ``judgements``."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from chimera.review.calibration.features import Features
from chimera.review.calibration.learn import Labelled
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored

LABELS_MAX = 20_000
AUDITS_MAX = 5_000
HISTORY_MAX = 200


@dataclass(frozen=True)
class Certificate:
    """A band that may decide alone. ``above``, ``errors``: of ``labels``, how many lay in the band and were wrong."""

    id: str
    tenant: str
    point: str
    topic: str
    side: str
    alpha: float
    threshold: float
    bound: float
    labels: int
    above: int
    errors: int
    model: dict[str, Any]
    policy: str
    made_by: str
    made_at: datetime
    why: str
    closed_at: datetime | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        closed = self.closed_at.isoformat() if self.closed_at else None
        return {**asdict(self), "made_at": self.made_at.isoformat(), "closed_at": closed}


@dataclass(frozen=True)
class Judgement:
    """One judged result. ``band``: what let it pass or sent it back: approve, reject, threshold; or human."""

    id: str
    mission_id: str
    tenant: str
    point: str
    topic: str
    persona: str
    features: Features
    probability: float | None
    band: str
    certificate_id: str | None
    propensity: float
    audited: bool
    judged_at: datetime


_KEPT = "SELECT * FROM certificates WHERE tenant = %(tenant)s AND point = %(point)s AND topic = %(topic)s"
_DECIDED = (
    "FROM judgements j JOIN reviews r ON r.id = j.review_id AND r.state = 'decided' "
    "WHERE j.tenant = %(tenant)s AND j.point = %(point)s AND j.topic = %(topic)s "
)


class CalibrationStore:
    """Reads and writes what is known of confidences."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def open_bands(self, tenant: str, point: str, topic: str) -> list[Certificate]:
        """The certificates in force, at most one for each side."""
        rows = await fetch(
            self.pool,
            f"{_KEPT} AND closed_at IS NULL ORDER BY side",
            {"tenant": as_stored(tenant), "point": point, "topic": topic},
        )
        return [_certificate(row) for row in rows]

    async def broken(self, tenant: str, point: str, topic: str) -> bool:
        """Whether the band that let results pass was closed, and none was certified since."""
        row = await fetch_one(
            self.pool,
            f"{_KEPT} AND side = 'approve' ORDER BY closed_at IS NULL DESC, made_at DESC, closed_at DESC LIMIT 1",
            {"tenant": as_stored(tenant), "point": point, "topic": topic},
        )
        return row is not None and row["closed_at"] is not None

    async def certificates(self, tenant: str | None = None, limit: int = 200) -> list[Certificate]:
        """All there were, newest first; of one tenant, or of all."""
        rows = await fetch(
            self.pool,
            "SELECT * FROM certificates WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s "
            "ORDER BY made_at DESC, id LIMIT %(limit)s",
            {"tenant": tenant, "limit": limit},
        )
        return [_certificate(row) for row in rows]

    async def replace(self, connection: Connection, made: Certificate) -> None:
        """Put a certificate in force in a transaction; the one before it is closed."""
        await connection.execute(
            "UPDATE certificates SET closed_at = greatest(%(made_at)s, made_at), why = 'a newer certificate' "
            "WHERE tenant = %(tenant)s AND point = %(point)s AND topic = %(topic)s AND side = %(side)s "
            "AND closed_at IS NULL",
            {**asdict(made), "model": None},
        )
        await connection.execute(
            "INSERT INTO certificates (id, tenant, point, topic, side, alpha, threshold, bound, labels, above, errors, "
            "model, policy, made_by, made_at, why) VALUES (%(id)s, %(tenant)s, %(point)s, %(topic)s, %(side)s, "
            "%(alpha)s, %(threshold)s, %(bound)s, %(labels)s, %(above)s, %(errors)s, %(model)s, %(policy)s, "
            "%(made_by)s, %(made_at)s, %(why)s)",
            {**asdict(made), "model": as_json(made.model)},
        )

    async def close(self, connection: Connection, certificate_id: str, at: datetime, why: str) -> bool:
        """Close a band in a transaction; False when it was closed before."""
        cursor = await connection.execute(
            "UPDATE certificates SET closed_at = greatest(%s, made_at), why = %s "
            "WHERE id = %s AND closed_at IS NULL RETURNING id",
            (at, as_stored(why), certificate_id),
        )
        return await cursor.fetchone() is not None

    async def keep(self, made: Judgement) -> Judgement:
        """Keep what was judged, once: a step that runs again finds what it did."""
        values = {**asdict(made), "features": as_json(made.features.plain()), "persona": as_stored(made.persona)}
        await fetch(
            self.pool,
            "INSERT INTO judgements (id, mission_id, tenant, point, topic, persona, features, probability, band, "
            "certificate_id, propensity, audited, judged_at) VALUES (%(id)s, %(mission_id)s, %(tenant)s, %(point)s, "
            "%(topic)s, %(persona)s, %(features)s, %(probability)s, %(band)s, %(certificate_id)s, %(propensity)s, "
            "%(audited)s, %(judged_at)s) ON CONFLICT (id) DO NOTHING",
            values,
        )
        return await self.judgement(made.id) or made

    async def judgement(self, judgement_id: str) -> Judgement | None:
        """What was judged, if it was."""
        row = await fetch_one(self.pool, "SELECT * FROM judgements WHERE id = %s", (judgement_id,))
        if row is None:
            return None
        certificate = str(row["certificate_id"]) if row["certificate_id"] else None
        given = {name: row[name] for name in ("tenant", "point", "topic", "persona", "probability", "band")}
        return Judgement(
            id=str(row["id"]),
            mission_id=str(row["mission_id"]),
            features=Features.read(row["features"]),
            certificate_id=certificate,
            propensity=row["propensity"],
            audited=row["audited"],
            judged_at=row["judged_at"],
            **given,
        )

    async def asked(self, judgement_id: str, review_id: str) -> None:
        """Note which question was put to a human about a judged result."""
        query = "UPDATE judgements SET review_id = %s WHERE id = %s AND review_id IS NULL"
        await fetch(self.pool, query, (review_id, judgement_id))

    async def labelled(self, tenant: str, point: str, topic: str) -> list[Labelled]:
        """What humans decided about judged results, newest first: approved as it was, or not."""
        rows = await fetch(
            self.pool,
            f"SELECT j.id, j.mission_id, j.features, j.propensity, r.decision ->> 'action' AS action {_DECIDED} "
            f"ORDER BY j.judged_at DESC, j.id LIMIT {LABELS_MAX}",
            {"tenant": as_stored(tenant), "point": point, "topic": topic},
        )
        return [
            Labelled(
                str(row["id"]),
                str(row["mission_id"]),
                Features.read(row["features"]),
                row["action"] == "approve",
                row["propensity"],
            )
            for row in rows
        ]

    async def audited(self, certificate: Certificate) -> list[bool]:
        """Of what a band decided, what humans saw blind and found wrong, in the order of their answers."""
        rows = await fetch(
            self.pool,
            "SELECT r.decision ->> 'action' AS action FROM judgements j JOIN reviews r ON r.id = j.review_id "
            "AND r.state = 'decided' WHERE j.certificate_id = %s AND j.audited "
            "ORDER BY r.decided_at, r.id LIMIT %s",
            (certificate.id, AUDITS_MAX),
        )
        right = "approve" if certificate.side == "approve" else "reject"
        return [(row["action"] == "approve") != (right == "approve") for row in rows]

    async def let_through(self, mission_id: str) -> set[str]:
        """The tools of which humans let a call of a mission through."""
        rows = await fetch(
            self.pool,
            "SELECT DISTINCT payload ->> 'capability' AS tool FROM reviews WHERE mission_id = %s AND state = 'decided' "
            "AND payload ? 'capability' AND decision ->> 'action' IN ('approve', 'edit')",
            (mission_id,),
        )
        return {row["tool"] for row in rows}

    async def history(self, tenant: str, persona: str) -> tuple[int, int]:
        """Of the last results of a persona that humans decided about: how many they approved, and how many it was."""
        row = await fetch_one(
            self.pool,
            "SELECT count(*) FILTER (WHERE action = 'approve') AS approved, count(*) AS seen FROM ("
            "SELECT r.decision ->> 'action' AS action FROM judgements j JOIN reviews r ON r.id = j.review_id AND "
            "r.state = 'decided' WHERE j.tenant = %s AND j.persona = %s ORDER BY j.judged_at DESC LIMIT %s) AS last",
            (as_stored(tenant), as_stored(persona), HISTORY_MAX),
        )
        return (int(row["approved"]), int(row["seen"])) if row else (0, 0)

    async def points(self) -> list[tuple[str, str, str, int, int]]:
        """Tenant, point and topic of all that was judged, how much that was, and how much humans decided about."""
        rows = await fetch(
            self.pool,
            "SELECT j.tenant, j.point, j.topic, count(*) AS judged, count(r.id) AS decided FROM judgements j "
            "LEFT JOIN reviews r ON r.id = j.review_id AND r.state = 'decided' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        )
        return [(r["tenant"], r["point"], r["topic"], int(r["judged"]), int(r["decided"])) for r in rows]


def _certificate(row: dict[str, Any]) -> Certificate:
    values: dict[str, Any] = {**row, "id": str(row["id"])}
    return Certificate(**values)
