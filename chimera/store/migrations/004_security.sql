-- Signed ends of the audit chains, security incidents, and who may do nothing until a human has looked.

-- at is the text that was signed.
CREATE TABLE audit_checkpoints (
    tenant    text NOT NULL,
    seq       bigint NOT NULL CHECK (seq > 0),
    key       text NOT NULL,
    hash      text NOT NULL,
    at        text NOT NULL,
    signature text NOT NULL,
    PRIMARY KEY (tenant, seq, key)
);
CREATE TRIGGER audit_checkpoints_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse_change();

-- trail is the hash of the audit event that told of it; review_id the question that was put to a human, if one was.
CREATE TABLE incidents (
    id          uuid PRIMARY KEY,
    tenant      text NOT NULL,
    mission_id  uuid,
    agent       text NOT NULL,
    pool        text NOT NULL,
    edge        text NOT NULL,
    rule        text NOT NULL,
    threat      text NOT NULL,
    reasons     jsonb NOT NULL,
    trail       text,
    review_id   uuid,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'released')),
    opened_at   timestamptz NOT NULL,
    released_at timestamptz,
    released_by text,
    reason      text,
    CHECK ((state = 'released') = (released_at IS NOT NULL AND released_by IS NOT NULL AND reason IS NOT NULL))
);
CREATE INDEX incidents_of_pool ON incidents (tenant, pool, opened_at DESC);
CREATE INDEX incidents_open ON incidents (opened_at) WHERE state = 'open';

-- What an incident holds back; it goes on when no open incident holds it any more. kind: agent or pool.
CREATE TABLE quarantines (
    incident_id uuid NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('agent', 'pool')),
    subject     text NOT NULL,
    tenant      text NOT NULL,
    PRIMARY KEY (incident_id, kind, subject)
);
CREATE INDEX quarantines_of_subject ON quarantines (tenant, kind, subject);
