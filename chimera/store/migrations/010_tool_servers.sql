-- Tool servers with their versions side by side, what each version offers, and what of it was pinned. No value of a secret
-- is ever in here: spec names the variables that hold one.

CREATE TABLE tool_servers (
    name       text PRIMARY KEY,
    identity   text NOT NULL,
    category   text NOT NULL,
    current    text NOT NULL,
    previous   text,
    canary     text,
    canary_bp  integer NOT NULL DEFAULT 0 CHECK (canary_bp BETWEEN 0 AND 10000),
    enabled    boolean NOT NULL DEFAULT true,
    changed_at timestamptz NOT NULL
);

CREATE TABLE tool_versions (
    server   text NOT NULL REFERENCES tool_servers (name) ON DELETE CASCADE,
    version  text NOT NULL,
    spec     jsonb NOT NULL,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (server, version)
);

-- place: the URL of an endpoint, or nothing for a server that is started as a process.
CREATE TABLE tool_replicas (
    server     text NOT NULL,
    version    text NOT NULL,
    place      text NOT NULL,
    health     text NOT NULL DEFAULT 'unknown' CHECK (health IN ('unknown', 'up', 'down')),
    reason     text NOT NULL DEFAULT '',
    checked_at timestamptz,
    PRIMARY KEY (server, version, place),
    FOREIGN KEY (server, version) REFERENCES tool_versions (server, version) ON DELETE CASCADE
);

CREATE TABLE tool_capabilities (
    server      text NOT NULL,
    version     text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('tool', 'resource', 'prompt')),
    name        text NOT NULL,
    definition  jsonb NOT NULL,
    read_only   boolean NOT NULL DEFAULT false,
    idempotent  boolean NOT NULL DEFAULT false,
    destructive boolean NOT NULL DEFAULT true,
    risk        text NOT NULL CHECK (risk IN ('low', 'medium', 'high')),
    cost_units  bigint NOT NULL DEFAULT 0 CHECK (cost_units >= 0),
    cost_asset  text NOT NULL DEFAULT '',
    seen_at     timestamptz NOT NULL,
    PRIMARY KEY (server, version, kind, name),
    FOREIGN KEY (server, version) REFERENCES tool_versions (server, version) ON DELETE CASCADE
);

-- By where a server comes from and not by what it is called here, so that another name for it loses no pin.
CREATE TABLE tool_pins (
    identity   text NOT NULL,
    version    text NOT NULL,
    tool       text NOT NULL,
    digest     text NOT NULL,
    definition jsonb NOT NULL,
    pinned_by  text NOT NULL,
    pinned_at  timestamptz NOT NULL,
    PRIMARY KEY (identity, version, tool)
);

-- What a server says now instead of what was pinned, by the hash of it, and what a human said of that.
CREATE TABLE tool_changes (
    digest      text PRIMARY KEY,
    identity    text NOT NULL,
    version     text NOT NULL,
    server      text NOT NULL,
    changes     jsonb NOT NULL,
    definitions jsonb NOT NULL,
    state       text NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    review_id   uuid,
    proposed_at timestamptz NOT NULL,
    decided_at  timestamptz,
    decided_by  text,
    reason      text
);
CREATE INDEX tool_changes_of ON tool_changes (identity, version, proposed_at DESC);

-- Tools that changed can be asked about without a mission, like a changed policy and an incident.
ALTER TABLE reviews DROP CONSTRAINT reviews_check;
ALTER TABLE reviews ADD CONSTRAINT reviews_check
    CHECK (mission_id IS NOT NULL OR coalesce(payload ->> 'kind', '') IN ('policy', 'incident', 'changed_tools'));
CREATE UNIQUE INDEX tool_changes_of_review ON tool_changes (review_id);
