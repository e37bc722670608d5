-- Keys with which principals call the server, and who asked for a mission through it.

-- digest: SHA-256 over salt and secret. The secret has 256 random bits, is shown once and is kept nowhere.
CREATE TABLE principal_keys (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    principal  text NOT NULL,
    salt       bytea NOT NULL,
    digest     bytea NOT NULL,
    label      text NOT NULL DEFAULT '',
    issued_at  timestamptz NOT NULL,
    issued_by  text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    FOREIGN KEY (tenant, principal) REFERENCES principals (tenant, name),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX principal_keys_of ON principal_keys (tenant, principal);

-- asked_by: the principal who asked for it at the server; asked: a digest of the whole request, so that one which is
-- repeated is known again. Null: it came in another way. options: how it is begun (approve_plan, dry_run), so that whoever
-- takes it up before its first checkpoint begins it in the same way.
ALTER TABLE missions ADD COLUMN options jsonb NOT NULL DEFAULT '{}';
ALTER TABLE missions ADD COLUMN asked_by text;
ALTER TABLE missions ADD COLUMN asked text;
CREATE INDEX missions_asked ON missions (status) WHERE asked_by IS NOT NULL AND status IN ('running', 'waiting');
