-- The fleet: pools, the agents in them, the workers that run agents, and the runs. All times are of this server's clock.

-- model: null is that of the settings. tools: patterns of what may be used here; null is everything. budget_units: what
-- its runs may cost together; null is no limit. Each step of priority doubles the weight. tenant_limit: runs of one
-- tenant at once.
CREATE TABLE pools (
    name         text PRIMARY KEY,
    model        text,
    tools        jsonb,
    concurrency  integer NOT NULL CHECK (concurrency >= 0),
    tenant_limit integer CHECK (tenant_limit >= 0),
    priority     integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -8 AND 8),
    weight       integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    budget_units bigint CHECK (budget_units >= 0),
    spent_units  bigint NOT NULL DEFAULT 0 CHECK (spent_units >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO pools (name, concurrency) VALUES ('default', 100000);

CREATE TABLE agents (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    pool       text NOT NULL REFERENCES pools (name),
    role       text NOT NULL,
    persona    text NOT NULL DEFAULT '',
    state      text NOT NULL DEFAULT 'waiting'
               CHECK (state IN ('planning', 'working', 'judging', 'waiting', 'sleeping', 'quarantined')),
    run_id     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX agents_waiting ON agents (pool, tenant, id) WHERE state = 'waiting';

-- One lease for all that a worker does. Whoever takes it away raises the epoch: then nothing of it can be written.
CREATE TABLE workers (
    id          text PRIMARY KEY,
    epoch       bigint NOT NULL,
    state       text NOT NULL CHECK (state IN ('running', 'draining', 'stopped', 'lost')),
    engine      text NOT NULL,
    pools       jsonb,
    concurrency integer NOT NULL CHECK (concurrency > 0),
    started_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- epoch: the fence; every claim raises it. worker_epoch: the turn of the worker that claimed it. failures: how often it
-- failed, or its worker did, in a row without a new checkpoint; reached: the newest one then. stop: what its worker is
-- asked to do with it.
CREATE TABLE runs (
    id           text PRIMARY KEY,
    thread_id    text NOT NULL,
    pool         text NOT NULL REFERENCES pools (name),
    tenant       text NOT NULL,
    priority     integer NOT NULL DEFAULT 0,
    seq          bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    state        text NOT NULL
                 CHECK (state IN ('delayed', 'queued', 'running', 'done', 'failed', 'dead', 'cancelled')),
    attempts     integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    max_failures integer NOT NULL CHECK (max_failures > 0),
    not_before   timestamptz NOT NULL,
    deadline_at  timestamptz,
    worker       text,
    worker_epoch bigint,
    epoch        bigint NOT NULL DEFAULT 0,
    agent        text,
    stop         text CHECK (stop IN ('cancel', 'release')),
    reached      text,
    payload      jsonb NOT NULL,
    outcome      jsonb,
    error        jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    ended_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX runs_queued ON runs (pool, tenant, priority DESC, seq) WHERE state = 'queued';
CREATE INDEX runs_delayed ON runs (not_before) WHERE state = 'delayed';
CREATE INDEX runs_running ON runs (pool, tenant) WHERE state = 'running';
CREATE INDEX runs_of_worker ON runs (worker) WHERE state = 'running';
CREATE INDEX runs_of_agent ON runs (agent) WHERE state = 'running';
CREATE INDEX runs_expiring ON runs (deadline_at) WHERE state IN ('delayed', 'queued', 'running') AND deadline_at IS NOT NULL;
CREATE INDEX runs_dead ON runs (ended_at) WHERE state = 'dead';
CREATE INDEX runs_started ON runs (started_at);

-- How many runs of a tenant in a pool are running: counted along, as a claim has to know it of all of them.
CREATE TABLE lanes (
    pool    text NOT NULL REFERENCES pools (name),
    tenant  text NOT NULL,
    running bigint NOT NULL CHECK (running >= 0),
    PRIMARY KEY (pool, tenant)
) WITH (fillfactor = 20);

-- Gives a worker runs to do, the fairest first: each pool gets room by its weight, each tenant of a pool the same, and
-- nobody more than the limits. Claims come one after the other, so that the limits are exact; it is one statement for
-- the client, so that a client that stalls holds nobody up.
CREATE FUNCTION claim_runs(for_worker text, turn bigint, room integer, wanted text[]) RETURNS SETOF runs
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(1667788135, 1);
    PERFORM 1 FROM workers AS w
    WHERE w.id = for_worker AND w.epoch = turn AND w.state = 'running' AND w.expires_at > clock_timestamp() FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE runs AS r SET state = 'queued' WHERE r.id IN (
        SELECT d.id FROM runs AS d WHERE d.state = 'delayed' AND d.not_before <= clock_timestamp()
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
        attempts = r.attempts + 1, started_at = clock_timestamp(), agent = m.agent, stop = NULL
    FROM manned AS m WHERE r.id = m.id
    RETURNING r.*;
END
$$;

-- What became of runs, told by the workers that had claimed them; whoever holds a fence no longer is not heard.
-- how: done, failed (for good), retry, release (unfinished, nobody's fault) or cancel.
CREATE FUNCTION end_runs(ids text[], fences bigint[], hows text[], outcomes jsonb[], errors jsonb[])
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
        SELECT r.id, r.pool, r.tenant, t.outcome, t.error, r.agent, r.max_failures,
            CASE WHEN t.how IN ('retry', 'release') AND r.stop = 'cancel' THEN 'cancel' ELSE t.how END AS how,
            newest.at AS newest,
            CASE WHEN t.how <> 'retry' THEN r.failures
                WHEN newest.at IS DISTINCT FROM r.reached THEN 1 ELSE r.failures + 1 END AS failures
        FROM runs AS r JOIN told AS t ON t.id = r.id AND t.fence = r.epoch
        LEFT JOIN LATERAL (
            SELECT max(c.checkpoint_id) AS at FROM checkpoints AS c
            WHERE t.how = 'retry' AND c.thread_id = r.thread_id AND c.checkpoint_ns = ''
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
            WHEN h.how = 'failed' THEN 'failed' WHEN h.how = 'release' THEN 'queued'
            WHEN h.failures >= h.max_failures THEN 'dead' ELSE 'delayed' END,
        failures = h.failures,
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

-- Takes away the leases that ran out, gives the runs of workers that are no more to others, and ends what is too late.
-- A worker that is just writing is left for the next time: its transaction ends, or is ended by this server.
CREATE FUNCTION sweep_runs() RETURNS TABLE (id text, state text) LANGUAGE plpgsql SET jit = off AS $$
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
    ), left_over AS (
        SELECT r.id, r.pool, r.tenant, r.agent, r.stop, r.max_failures, newest.at AS newest,
            r.deadline_at < clock_timestamp() AS late,
            CASE WHEN newest.at IS DISTINCT FROM r.reached THEN 1 ELSE r.failures + 1 END AS failures
        FROM orphans AS r LEFT JOIN LATERAL (
            SELECT max(c.checkpoint_id) AS at FROM checkpoints AS c
            WHERE c.thread_id = r.thread_id AND c.checkpoint_ns = ''
        ) AS newest ON true
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
            state = CASE WHEN h.stop = 'cancel' THEN 'cancelled' WHEN h.late THEN 'failed'
                WHEN h.failures >= h.max_failures THEN 'dead' WHEN h.failures > 1 THEN 'delayed' ELSE 'queued' END,
            failures = h.failures,
            reached = h.newest,
            not_before = CASE WHEN h.failures < 2 THEN r.not_before ELSE clock_timestamp()
                + least(60.0, 0.25 * power(2.0, h.failures)) * (0.5 + random()) * interval '1 second' END,
            ended_at = CASE WHEN h.stop = 'cancel' OR h.late OR h.failures >= h.max_failures THEN clock_timestamp() END,
            error = jsonb_build_object('code', 'CH300', 'message',
                'its worker ' || coalesce(r.worker, '') || ' was lost, and ' || h.failures || ' of ' || h.max_failures
                || ' tries without a new step are used up', 'remedy', '`chimera runs replay` lets it run once more.'),
            agent = NULL, worker = NULL, stop = NULL
        FROM left_over AS h WHERE r.id = h.id
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
