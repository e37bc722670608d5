-- Questions to humans, and the tamper-evident record.

CREATE TABLE reviews (
    id         uuid PRIMARY KEY,
    mission_id uuid NOT NULL REFERENCES missions (id) ON DELETE CASCADE,
    point      text NOT NULL,
    question   text NOT NULL,
    payload    jsonb NOT NULL,
    confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    reasons    jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'open',
    decision   jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    decided_at timestamptz
);
CREATE INDEX reviews_open ON reviews (created_at) WHERE state = 'open';

-- One hash chain per tenant: hash = sha256(prev_hash || body), and body holds every other column.
CREATE TABLE audit_events (
    tenant     text NOT NULL,
    seq        bigint NOT NULL CHECK (seq > 0),
    mission_id uuid,
    kind       text NOT NULL,
    body       text NOT NULL,
    prev_hash  text NOT NULL,
    hash       text NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_events_by_mission ON audit_events (mission_id, seq);

CREATE TABLE audit_heads (
    tenant text PRIMARY KEY,
    seq    bigint NOT NULL,
    hash   text NOT NULL
);

CREATE FUNCTION audit_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only';
END
$$;
CREATE TRIGGER audit_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();
