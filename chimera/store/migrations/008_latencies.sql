-- How long the parts of steps took within the last minutes, as each worker measured it. counts: how many by bucket; see
-- chimera.core.timing.
CREATE TABLE latencies (
    worker      text NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    pool        text NOT NULL,
    part        text NOT NULL CHECK (part IN ('queue', 'framework', 'guard', 'model', 'tool')),
    counts      jsonb NOT NULL,
    measured_at timestamptz NOT NULL,
    PRIMARY KEY (worker, pool, part)
) WITH (fillfactor = 50);

-- state_before: of an agent that an incident holds back, what it was.
ALTER TABLE agents ADD COLUMN state_before text;
