-- Missions, their tasks, what they used, and what they did.

CREATE TABLE missions (
    id               uuid PRIMARY KEY,
    tenant           text NOT NULL,
    goal             text NOT NULL,
    mission          jsonb NOT NULL,
    context_version  text NOT NULL,
    status           text NOT NULL,
    result           jsonb,
    cancel_requested boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    deadline_at      timestamptz NOT NULL
);
CREATE INDEX missions_newest ON missions (tenant, created_at DESC);

CREATE TABLE tasks (
    mission_id      uuid NOT NULL REFERENCES missions (id) ON DELETE CASCADE,
    team            text NOT NULL,
    id              text NOT NULL,
    plan_round      integer NOT NULL,
    attempt         integer NOT NULL DEFAULT 0,
    title           text NOT NULL,
    state           text NOT NULL,
    context_version text NOT NULL,
    plan            jsonb NOT NULL,
    result          jsonb,
    verdict         jsonb,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mission_id, team, plan_round, id)
);

CREATE TABLE usage (
    id         uuid PRIMARY KEY,
    mission_id uuid NOT NULL REFERENCES missions (id) ON DELETE CASCADE,
    role       text NOT NULL,
    model      text NOT NULL,
    tokens_in  bigint NOT NULL CHECK (tokens_in >= 0),
    tokens_out bigint NOT NULL CHECK (tokens_out >= 0),
    cost_units bigint NOT NULL CHECK (cost_units >= 0),
    cost_asset text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_by_mission ON usage (mission_id);

-- Effects by idempotency key, recorded before the network is touched: a step that runs again finds what it did.
CREATE TABLE effects (
    key        uuid PRIMARY KEY,
    mission_id uuid NOT NULL REFERENCES missions (id) ON DELETE CASCADE,
    capability text NOT NULL,
    arguments  text NOT NULL,
    state      text NOT NULL,
    result     jsonb,
    at         timestamptz NOT NULL DEFAULT now()
);
