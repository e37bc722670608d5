-- Missions that the fleet carries out, and runs that wait for others without a worker. kind: what a run carries out; the
-- thread of a mission is its id. parent: the run that waits for this one. A run that is `waiting` is queued again when
-- none of those is open any more, and at the latest at not_before.
ALTER TABLE runs DROP CONSTRAINT runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check
    CHECK (state IN ('delayed', 'queued', 'running', 'waiting', 'done', 'failed', 'dead', 'cancelled'));
ALTER TABLE runs ADD COLUMN kind text NOT NULL DEFAULT 'agent' CHECK (kind IN ('agent', 'mission'));
ALTER TABLE runs ADD COLUMN parent text;
CREATE INDEX runs_waiting ON runs (not_before) WHERE state = 'waiting';
CREATE INDEX runs_of_parent ON runs (parent)
    WHERE parent IS NOT NULL AND state IN ('delayed', 'queued', 'running', 'waiting');
CREATE INDEX runs_of_mission ON runs (thread_id) WHERE kind = 'mission';

-- Queues what waits and has nothing left to wait for: whoever waits for one of the runs that have just ended, and for
-- null whoever waits at all. The rows are held first, and looked at in a statement of their own: of two that end at the
-- same time, the second one sees the first.
CREATE FUNCTION wake_runs(ended text[]) RETURNS TABLE (id text, state text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    waiting text[];
BEGIN
    IF ended IS NULL THEN
        SELECT array_agg(p.id) INTO waiting FROM (
            SELECT q.id FROM runs AS q WHERE q.state = 'waiting' ORDER BY q.id FOR UPDATE SKIP LOCKED
        ) AS p;
    ELSE
        SELECT array_agg(p.id) INTO waiting FROM (
            SELECT q.id FROM runs AS q WHERE q.state = 'waiting'
                AND q.id IN (SELECT c.parent FROM runs AS c WHERE c.id = ANY (ended) AND c.parent IS NOT NULL)
            ORDER BY q.id FOR UPDATE
        ) AS p;
    END IF;
    IF waiting IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE runs AS r SET state = 'queued', not_before = least(r.not_before, clock_timestamp())
    WHERE r.id = ANY (waiting) AND r.state = 'waiting' AND (r.not_before <= clock_timestamp() OR NOT EXISTS (
        SELECT FROM runs AS c
        WHERE c.parent = r.id AND c.state IN ('delayed', 'queued', 'running', 'waiting')
    ))
    RETURNING r.id, r.state;
END
$$;

-- Lets go of a claimed run until all the others that are named are over, at the latest after so many seconds; with none,
-- after those. What is waited for is held first, as whoever ends it holds it before the one that waits.
CREATE FUNCTION park_run(parked text, fence bigint, others text[], seconds float8)
RETURNS TABLE (id text, state text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM lanes AS l
    WHERE (l.pool, l.tenant) IN (SELECT r.pool, r.tenant FROM runs AS r WHERE r.id = parked) FOR UPDATE;
    PERFORM 1 FROM runs AS c WHERE c.id = ANY (others) ORDER BY c.id FOR UPDATE;
    UPDATE runs AS c SET parent = parked
    WHERE c.id = ANY (others) AND c.id <> parked AND c.parent IS DISTINCT FROM parked;
    RETURN QUERY
    WITH held AS (
        SELECT r.id, r.pool, r.tenant, r.agent, r.stop FROM runs AS r
        WHERE r.id = parked AND r.epoch = fence AND r.state = 'running' FOR UPDATE
    ), counted AS (
        UPDATE lanes AS l SET running = l.running - 1 FROM held AS h WHERE l.pool = h.pool AND l.tenant = h.tenant
    ), freed AS (
        UPDATE agents AS g SET state = CASE g.state WHEN 'quarantined' THEN g.state ELSE 'waiting' END, run_id = NULL,
            updated_at = clock_timestamp()
        FROM held AS h WHERE g.id = h.agent AND g.run_id = h.id
    )
    UPDATE runs AS r SET
        state = CASE WHEN h.stop = 'cancel' THEN 'cancelled' WHEN cardinality(others) = 0 THEN 'delayed'
            ELSE 'waiting' END,
        not_before = clock_timestamp() + make_interval(secs => seconds),
        ended_at = CASE WHEN h.stop = 'cancel' THEN clock_timestamp() END,
        failures = 0, agent = NULL, worker = NULL, stop = NULL
    FROM held AS h WHERE r.id = h.id
    RETURNING r.id, r.state;
    RETURN QUERY SELECT w.id, w.state FROM wake_runs(others) AS w WHERE w.id = parked;
END
$$;
