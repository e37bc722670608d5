-- Which run takes its workers down. The loss of a worker is blamed on all that had begun on it. Who was there at two in
-- a row, and has made no new step since, is a suspect, and is tried with fewer others each time, in the end alone. Only
-- the loss of a worker on which nobody else had begun counts as a failure, so that innocents get away with a new step,
-- however many workers were lost under them.

-- losses: workers lost in a row after it had begun on them, without a new step. begun: whether it may have begun where
-- it was claimed; one that was at a loss before says so before it begins. lost_with: the turn for which it was blamed
-- last; lost_alone: and nobody else. A suspect waits as `delayed`, and is claimed from there.
ALTER TABLE runs ADD COLUMN losses integer NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN begun boolean NOT NULL DEFAULT true;
ALTER TABLE runs ADD COLUMN lost_with text;
ALTER TABLE runs ADD COLUMN lost_alone boolean NOT NULL DEFAULT false;
DROP INDEX runs_delayed;
CREATE INDEX runs_delayed ON runs (not_before) WHERE state = 'delayed' AND losses < 2;
CREATE INDEX runs_suspected ON runs (not_before) WHERE losses >= 2 AND state IN ('delayed', 'running');
CREATE INDEX runs_lost_with ON runs (lost_with) WHERE lost_with IS NOT NULL;

-- With how many runs, itself included, a suspect shares a worker: 16, 4, and then none.
CREATE FUNCTION company(losses integer) RETURNS integer LANGUAGE sql IMMUTABLE
    RETURN power(4, greatest(4 - losses, 0))::integer;

-- The newest checkpoint of a run.
CREATE FUNCTION newest_step(of_run runs) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT max(c.checkpoint_id) FROM checkpoints AS c WHERE c.thread_id = of_run.thread_id AND c.checkpoint_ns = ''
    );
END
$$;

-- Whether a run failed because this server was away while it ran.
CREATE FUNCTION postgres_failed(of_run runs, error jsonb) RETURNS boolean LANGUAGE sql STABLE
    RETURN coalesce(error->>'code' = 'CH301', false) AND of_run.started_at < pg_postmaster_start_time();

-- Whether the limits of its pool and tenant let one more run be claimed.
CREATE FUNCTION has_room(of_run runs) RETURNS boolean LANGUAGE sql STABLE
    RETURN EXISTS (
        SELECT FROM pools AS p WHERE p.name = of_run.pool AND (p.budget_units IS NULL OR p.spent_units < p.budget_units)
            AND p.concurrency > (SELECT coalesce(sum(l.running), 0) FROM lanes AS l WHERE l.pool = of_run.pool)
            AND (p.tenant_limit IS NULL OR p.tenant_limit > (
                SELECT coalesce(sum(l.running), 0) FROM lanes AS l
                WHERE l.pool = of_run.pool AND l.tenant = of_run.tenant
            ))
    );

-- The suspect that has waited longest, for a worker that carries few enough others; one that has found none for a
-- minute is tried anywhere.
CREATE FUNCTION claim_suspect(for_worker text, turn bigint, carried bigint, wanted text[]) RETURNS SETOF runs
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH taken AS (
        SELECT r.id, r.pool, r.tenant FROM runs AS r
        WHERE r.losses >= 2 AND r.state = 'delayed' AND r.not_before <= clock_timestamp()
            AND (company(r.losses) > carried OR r.not_before < clock_timestamp() - interval '1 minute')
            AND (wanted IS NULL OR r.pool = ANY (wanted)) AND has_room(r)
        ORDER BY r.not_before LIMIT 1 FOR UPDATE OF r SKIP LOCKED
    ), counted AS (
        INSERT INTO lanes AS l (pool, tenant, running) SELECT t.pool, t.tenant, 1 FROM taken AS t
        ON CONFLICT (pool, tenant) DO UPDATE SET running = l.running + 1
    ), crew AS (
        SELECT g.id FROM taken AS t CROSS JOIN LATERAL (
            SELECT a.id FROM agents AS a WHERE a.state = 'waiting' AND a.pool = t.pool AND a.tenant = t.tenant
            ORDER BY a.id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS g
    ), called AS (
        UPDATE agents AS g SET state = 'working', run_id = t.id, updated_at = clock_timestamp()
        FROM taken AS t, crew AS c WHERE g.id = c.id
    )
    UPDATE runs AS r SET state = 'running', worker = for_worker, worker_epoch = turn, epoch = r.epoch + 1,
        attempts = r.attempts + 1, started_at = clock_timestamp(), agent = (SELECT c.id FROM crew AS c), stop = NULL,
        begun = false
    FROM taken AS t WHERE r.id = t.id
    RETURNING r.*;
END
$$;

-- Whether a worker claims nothing for now, so that it gets empty enough for a suspect: one of those that could take it.
CREATE FUNCTION makes_room(for_worker text) RETURNS boolean LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM runs AS s
        WHERE s.losses >= 2 AND s.state = 'delayed'
            AND s.not_before BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp()
            AND has_room(s) AND for_worker = (
                SELECT min(w.id) FROM workers AS w
                WHERE w.state = 'running' AND w.expires_at > clock_timestamp() AND (w.pools IS NULL OR w.pools ? s.pool)
            )
    );
END
$$;

-- Says that a worker which lost its lease lives, and that its runs did not hold it up: none of them is to blame for it.
CREATE FUNCTION excuse_runs(of_worker text, of_turn bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE runs SET begun = false WHERE worker = of_worker AND worker_epoch = of_turn AND state = 'running';
    UPDATE runs SET losses = losses - 1, failures = failures - lost_alone::integer, lost_with = NULL
    WHERE lost_with = of_worker || ' ' || of_turn AND losses > 0 AND failures >= lost_alone::integer
        AND state IN ('delayed', 'queued', 'running', 'waiting');
$$;

-- Gives a worker runs to do, as before, after those that are tried with few others.
CREATE OR REPLACE FUNCTION claim_runs(for_worker text, turn bigint, room integer, wanted text[]) RETURNS SETOF runs
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    carried bigint;
    most integer;
    suspect runs;
BEGIN
    PERFORM pg_advisory_xact_lock(1667788135, 1);
    PERFORM 1 FROM workers AS w
    WHERE w.id = for_worker AND w.epoch = turn AND w.state = 'running' AND w.expires_at > clock_timestamp() FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM runs AS s WHERE s.losses >= 2 AND s.state IN ('delayed', 'running')) THEN
        -- One that has made a step since is no suspect any more.
        SELECT count(*),
            min(company(r.losses)) FILTER (WHERE r.losses >= 2 AND newest_step(r) IS NOT DISTINCT FROM r.reached)
        INTO carried, most FROM runs AS r WHERE r.worker = for_worker AND r.state = 'running';
        WHILE room > 0 AND (most IS NULL OR carried < most) LOOP
            SELECT * INTO suspect FROM claim_suspect(for_worker, turn, carried, wanted);
            EXIT WHEN NOT FOUND;
            RETURN NEXT suspect;
            carried := carried + 1;
            room := room - 1;
            most := least(most, company(suspect.losses));
        END LOOP;
        IF most IS NOT NULL THEN
            room := least(room, most - carried);
        ELSIF makes_room(for_worker) THEN
            room := 0;
        END IF;
        IF room <= 0 THEN
            RETURN;
        END IF;
    END IF;
    UPDATE runs AS r SET state = 'queued' WHERE r.id IN (
        SELECT d.id FROM runs AS d WHERE d.state = 'delayed' AND d.losses < 2 AND d.not_before <= clock_timestamp()
        ORDER BY d.not_before LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
    RETURN QUERY
    WITH RECURSIVE asked AS (
        (SELECT r.pool, r.tenant FROM runs AS r WHERE r.state = 'queued' ORDER BY r.pool, r.tenant LIMIT 1)
        UNION ALL
        SELECT next.pool, next.tenant FROM asked AS l CROSS JOIN LATERAL (
            SELECT r.pool, r.tenant FROM runs AS r
            WHERE r.state = 'queued' AND (r.pool, r.tenant) > (l.pool, l.tenant) ORDER BY r.pool, r.tenant LIMIT 1
        ) AS next
    ), busy AS (
        SELECT b.pool, b.tenant, b.running AS n FROM lanes AS b WHERE b.running > 0
    ), busy_pools AS (
        SELECT b.pool, sum(b.n) AS n FROM busy AS b GROUP BY b.pool
    ), open_lanes AS (
        SELECT l.pool, l.tenant, coalesce(b.n, 0) AS busy, coalesce(a.n, 0) AS pool_busy, p.concurrency,
            p.weight * power(2.0::float8, p.priority) AS weight,
            least(room, p.concurrency - coalesce(a.n, 0), coalesce(p.tenant_limit - coalesce(b.n, 0), room)) AS free
        FROM asked AS l
        JOIN pools AS p ON p.name = l.pool
        LEFT JOIN busy AS b ON b.pool = l.pool AND b.tenant = l.tenant
        LEFT JOIN busy_pools AS a ON a.pool = l.pool
        WHERE (wanted IS NULL OR l.pool = ANY (wanted)) AND (p.budget_units IS NULL OR p.spent_units < p.budget_units)
    ), found AS (
        SELECT l.pool, l.concurrency, l.pool_busy, l.weight, c.id, l.busy + row_number() OVER (
            PARTITION BY l.pool, l.tenant ORDER BY c.priority DESC, c.seq
        ) AS in_lane
        FROM open_lanes AS l CROSS JOIN LATERAL (
            SELECT r.id, r.priority, r.seq FROM runs AS r
            WHERE r.state = 'queued' AND r.pool = l.pool AND r.tenant = l.tenant
            ORDER BY r.priority DESC, r.seq LIMIT greatest(l.free, 0)
        ) AS c
    ), ranked AS (
        SELECT f.*, f.pool_busy + row_number() OVER (PARTITION BY f.pool ORDER BY f.in_lane, f.id) AS in_pool
        FROM found AS f
    ), fair AS (
        SELECT k.id FROM ranked AS k WHERE k.in_pool <= k.concurrency
        ORDER BY k.in_pool / k.weight, k.pool LIMIT room
    ), taken AS (
        SELECT r.id, r.pool, r.tenant FROM runs AS r JOIN fair USING (id)
        WHERE r.state = 'queued' FOR UPDATE OF r SKIP LOCKED
    ), counted AS (
        INSERT INTO lanes AS l (pool, tenant, running)
        SELECT t.pool, t.tenant, count(*) FROM taken AS t GROUP BY t.pool, t.tenant ORDER BY t.pool, t.tenant
        ON CONFLICT (pool, tenant) DO UPDATE SET running = l.running + excluded.running
    ), placed AS (
        SELECT t.*, row_number() OVER (PARTITION BY t.pool, t.tenant ORDER BY t.id) AS place FROM taken AS t
    ), crews AS (
        SELECT c.pool, c.tenant, a.id, row_number() OVER (PARTITION BY c.pool, c.tenant ORDER BY a.id) AS place
        FROM (SELECT t.pool, t.tenant, count(*) AS n FROM taken AS t GROUP BY t.pool, t.tenant) AS c
        CROSS JOIN LATERAL (
            SELECT g.id FROM agents AS g WHERE g.state = 'waiting' AND g.pool = c.pool AND g.tenant = c.tenant
            ORDER BY g.id LIMIT c.n FOR UPDATE SKIP LOCKED
        ) AS a
    ), manned AS (
        SELECT p.id, a.id AS agent FROM placed AS p
        LEFT JOIN crews AS a ON a.pool = p.pool AND a.tenant = p.tenant AND a.place = p.place
    ), called AS (
        UPDATE agents AS g SET state = 'working', run_id = m.id, updated_at = clock_timestamp()
        FROM manned AS m WHERE g.id = m.agent
    )
    UPDATE runs AS r SET state = 'running', worker = for_worker, worker_epoch = turn, epoch = r.epoch + 1,
        attempts = r.attempts + 1, started_at = clock_timestamp(), agent = m.agent, stop = NULL,
        begun = r.losses = 0
    FROM manned AS m WHERE r.id = m.id
    RETURNING r.*;
END
$$;

-- What became of runs, as before; what fails because Postgres itself ended is nobody's fault.
CREATE OR REPLACE FUNCTION end_runs(ids text[], fences bigint[], hows text[], outcomes jsonb[], errors jsonb[])
RETURNS TABLE (id text, state text) LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM lanes AS l
    WHERE (l.pool, l.tenant) IN (SELECT r.pool, r.tenant FROM runs AS r WHERE r.id = ANY (ids))
    ORDER BY l.pool, l.tenant FOR UPDATE;
    RETURN QUERY
    WITH told AS (
        SELECT t.* FROM unnest(ids, fences, hows, outcomes, errors) AS t (id, fence, how, outcome, error)
    ), held AS (
        SELECT r.id, r.pool, r.tenant, t.outcome, t.error, r.agent, r.max_failures, r.losses,
            CASE WHEN t.how IN ('retry', 'release') AND r.stop = 'cancel' THEN 'cancel' ELSE t.how END AS how,
            newest.at AS newest,
            CASE WHEN t.how <> 'retry' THEN r.failures
                WHEN newest.at IS DISTINCT FROM r.reached THEN 0 ELSE r.failures END
                + (t.how = 'retry' AND NOT postgres_failed(r, t.error))::integer AS failures
        FROM runs AS r JOIN told AS t ON t.id = r.id AND t.fence = r.epoch
        LEFT JOIN LATERAL (
            SELECT newest_step(r) AS at WHERE t.how = 'retry'
        ) AS newest ON true
        WHERE r.state = 'running' ORDER BY r.id FOR UPDATE OF r
    ), counted AS (
        UPDATE lanes AS l SET running = l.running - n.n
        FROM (SELECT h.pool, h.tenant, count(*) AS n FROM held AS h GROUP BY h.pool, h.tenant) AS n
        WHERE l.pool = n.pool AND l.tenant = n.tenant
    ), freed AS (
        UPDATE agents AS g SET state = CASE g.state WHEN 'quarantined' THEN g.state ELSE 'waiting' END, run_id = NULL,
            updated_at = clock_timestamp()
        FROM held AS h WHERE g.id = h.agent AND g.run_id = h.id
    )
    UPDATE runs AS r SET
        state = CASE WHEN h.how = 'done' THEN 'done' WHEN h.how = 'cancel' THEN 'cancelled'
            WHEN h.how = 'failed' THEN 'failed' WHEN h.how = 'release' AND h.losses < 2 THEN 'queued'
            WHEN h.how = 'retry' AND h.failures >= h.max_failures THEN 'dead' ELSE 'delayed' END,
        failures = h.failures,
        losses = CASE WHEN h.how = 'retry' AND h.newest IS DISTINCT FROM r.reached THEN 0 ELSE r.losses END,
        reached = coalesce(h.newest, r.reached),
        not_before = CASE WHEN h.how = 'retry'
            THEN clock_timestamp() + least(60.0, 0.25 * power(2.0, h.failures)) * (0.5 + random()) * interval '1 second'
            ELSE r.not_before END,
        ended_at = CASE WHEN h.how = 'release' OR (h.how = 'retry' AND h.failures < h.max_failures) THEN NULL
            ELSE clock_timestamp() END,
        outcome = h.outcome, error = h.error, agent = NULL, worker = NULL, stop = NULL
    FROM held AS h WHERE r.id = h.id
    RETURNING r.id, r.state;
END
$$;

-- Takes away the leases that ran out, gives the runs of workers that are no more to others, as before, and says who is
-- suspected.
CREATE OR REPLACE FUNCTION sweep_runs() RETURNS TABLE (id text, state text) LANGUAGE plpgsql SET jit = off AS $$
#variable_conflict use_column
BEGIN
    IF NOT pg_try_advisory_xact_lock(1667788135, 2) THEN
        RETURN;
    END IF;
    UPDATE workers AS w SET epoch = w.epoch + 1, state = 'lost' WHERE w.id IN (
        SELECT o.id FROM workers AS o WHERE o.state IN ('running', 'draining') AND o.expires_at < clock_timestamp()
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM workers AS w WHERE w.id IN (
        SELECT o.id FROM workers AS o
        WHERE o.state IN ('stopped', 'lost') AND o.expires_at < clock_timestamp() - interval '1 day'
        FOR UPDATE SKIP LOCKED
    );
    -- In the order in which end_runs takes them, so that the two never wait for each other.
    PERFORM 1 FROM lanes AS l WHERE EXISTS (
        SELECT 1 FROM runs AS r WHERE r.state = 'running' AND NOT EXISTS (
            SELECT 1 FROM workers AS w WHERE w.id = r.worker AND w.epoch = r.worker_epoch AND w.state <> 'stopped'
        )
    ) ORDER BY l.pool, l.tenant FOR UPDATE;
    RETURN QUERY
    WITH orphans AS MATERIALIZED (
        SELECT r.* FROM runs AS r
        WHERE r.state = 'running' AND NOT EXISTS (
            SELECT 1 FROM workers AS w WHERE w.id = r.worker AND w.epoch = r.worker_epoch AND w.state <> 'stopped'
        )
        ORDER BY r.id FOR UPDATE OF r SKIP LOCKED
    ), suspects AS (
        SELECT r.id, r.worker, r.worker_epoch FROM orphans AS r
        WHERE r.begun AND r.started_at > pg_postmaster_start_time() AND NOT EXISTS (
            SELECT FROM workers AS w WHERE w.id = r.worker AND w.epoch = r.worker_epoch + 1 AND w.state = 'stopped'
        )
    ), judged AS (
        SELECT s.id, count(*) OVER (PARTITION BY s.worker, s.worker_epoch) = 1 AS alone FROM suspects AS s
    ), left_over AS (
        SELECT r.id, r.pool, r.tenant, r.agent, r.stop, r.max_failures, newest.at AS newest,
            r.deadline_at < clock_timestamp() AS late, j.id IS NOT NULL AS blamed, coalesce(j.alone, false) AS alone,
            CASE WHEN newest.at IS DISTINCT FROM r.reached THEN 0 ELSE r.losses END
                + (j.id IS NOT NULL)::integer AS losses,
            CASE WHEN newest.at IS DISTINCT FROM r.reached THEN 0 ELSE r.failures END
                + coalesce(j.alone, false)::integer AS failures
        FROM orphans AS r CROSS JOIN LATERAL (SELECT newest_step(r) AS at) AS newest
        LEFT JOIN judged AS j ON j.id = r.id
    ), found AS (
        SELECT h.*, h.blamed AND (h.failures >= h.max_failures OR h.losses >= 3 * h.max_failures) AS poison
        FROM left_over AS h
    ), counted AS (
        UPDATE lanes AS l SET running = l.running - n.n
        FROM (SELECT h.pool, h.tenant, count(*) AS n FROM left_over AS h GROUP BY h.pool, h.tenant) AS n
        WHERE l.pool = n.pool AND l.tenant = n.tenant
    ), freed AS (
        UPDATE agents AS g SET state = CASE g.state WHEN 'quarantined' THEN g.state ELSE 'waiting' END, run_id = NULL,
            updated_at = clock_timestamp()
        FROM left_over AS h WHERE g.id = h.agent AND g.run_id = h.id
    ), over AS (
        UPDATE runs AS r SET
            state = CASE WHEN h.stop = 'cancel' THEN 'cancelled' WHEN h.late THEN 'failed' WHEN h.poison THEN 'dead'
                WHEN h.losses >= 2 THEN 'delayed' ELSE 'queued' END,
            failures = h.failures,
            losses = h.losses,
            lost_with = CASE WHEN h.blamed THEN r.worker || ' ' || r.worker_epoch END,
            lost_alone = h.alone,
            reached = h.newest,
            not_before = CASE WHEN h.losses < 2 THEN r.not_before ELSE clock_timestamp()
                + least(60.0, 0.25 * power(2.0, h.failures)) * (0.5 + random()) * interval '1 second' END,
            ended_at = CASE WHEN h.stop = 'cancel' OR h.late OR h.poison THEN clock_timestamp() END,
            error = CASE WHEN h.late THEN jsonb_build_object('code', 'CH705', 'message',
                'the run did not end before its deadline', 'remedy', 'Give it more time.')
            WHEN h.poison THEN jsonb_build_object('code', 'CH706', 'message',
                'the run took its worker down without a new step in ' || h.failures || ' of ' || h.max_failures
                || ' tries alone, and in ' || h.losses || ' in all',
                'remedy', '`chimera runs replay` lets it run once more.')
            ELSE jsonb_build_object('code', 'CH300', 'message', 'its worker ' || coalesce(r.worker, '') || ' was lost'
                || CASE WHEN h.losses >= 2 THEN ', number ' || h.losses || ' in a row: it is tried with few others'
                ELSE '' END,
                'remedy', 'Nothing is to be done: it runs again.') END,
            agent = NULL, worker = NULL, stop = NULL
        FROM found AS h WHERE r.id = h.id
        RETURNING r.id, r.state
    ), late AS (
        UPDATE runs AS r SET state = 'failed', ended_at = clock_timestamp(),
            error = jsonb_build_object('code', 'CH705', 'message', 'the run was not begun before its deadline',
                'remedy', 'Give it more time, or the pool more room.')
        WHERE r.id IN (
            SELECT q.id FROM runs AS q
            WHERE q.state IN ('delayed', 'queued', 'running') AND q.deadline_at IS NOT NULL
                AND q.deadline_at < clock_timestamp() AND q.state <> 'running'
            LIMIT 1000 FOR UPDATE SKIP LOCKED
        )
        RETURNING r.id, r.state
    )
    SELECT o.id, o.state FROM over AS o UNION ALL SELECT l.id, l.state FROM late AS l;
END
$$;

-- Lets go of a run until others are over, as before; its worker has outlived it.
CREATE OR REPLACE FUNCTION park_run(parked text, fence bigint, others text[], seconds float8)
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
        failures = 0, losses = 0, agent = NULL, worker = NULL, stop = NULL
    FROM held AS h WHERE r.id = h.id
    RETURNING r.id, r.state;
    RETURN QUERY SELECT w.id, w.state FROM wake_runs(others) AS w WHERE w.id = parked;
END
$$;
