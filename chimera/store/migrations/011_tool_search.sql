-- What tool servers said when they last ran, so that they can be searched without being started; what was used for which
-- words and whether it worked, by tenant; and the vectors of tools, where the database has pgvector.

-- source: where the server comes from and its version, as the pins know it, so that another server of the same name has a
-- row of its own. withheld: the tools whose description looked like an instruction to whoever screened it.
CREATE TABLE tool_listings (
    server   text NOT NULL,
    source   text NOT NULL,
    digest   text NOT NULL,
    tools    jsonb NOT NULL,
    screener text NOT NULL,
    withheld jsonb NOT NULL,
    seen_at  timestamptz NOT NULL,
    PRIMARY KEY (server, source)
);

-- worked and failed fade with time: they are as they were at counted_at.
CREATE TABLE tool_outcomes (
    tenant     text NOT NULL,
    stem       text NOT NULL,
    tool       text NOT NULL,
    worked     double precision NOT NULL CHECK (worked >= 0),
    failed     double precision NOT NULL CHECK (failed >= 0),
    counted_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, stem, tool)
);

-- A database without pgvector, or a role that may not create extensions, does without: words alone decide there. Chimera
-- tries again at each start with a dense model, so an extension that comes later is used.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE tool_vectors (
        model     text NOT NULL,
        digest    text NOT NULL,
        embedding vector NOT NULL,
        used_at   timestamptz NOT NULL,
        PRIMARY KEY (model, digest)
    );
EXCEPTION WHEN undefined_file OR feature_not_supported OR insufficient_privilege OR undefined_object THEN
    RAISE NOTICE 'tool search goes without pgvector';
END $$;
