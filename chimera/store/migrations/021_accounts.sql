-- People who log in to the pages. What is kept of a password, a session or an invitation cannot be used to log in.

CREATE TABLE accounts (
    tenant      text NOT NULL,
    name        text NOT NULL,
    password    text NOT NULL,
    set_at      timestamptz NOT NULL,
    failures    integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    closed_till timestamptz,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name) REFERENCES principals (tenant, name)
);

CREATE TABLE account_sessions (
    digest    bytea PRIMARY KEY,
    tenant    text NOT NULL,
    name      text NOT NULL,
    began_at  timestamptz NOT NULL,
    seen_at   timestamptz NOT NULL,
    FOREIGN KEY (tenant, name) REFERENCES principals (tenant, name)
);
CREATE INDEX account_sessions_of ON account_sessions (tenant, name);

CREATE TABLE account_invitations (
    digest   bytea PRIMARY KEY,
    tenant   text NOT NULL,
    name     text NOT NULL,
    made_at  timestamptz NOT NULL,
    made_by  text NOT NULL,
    ends_at  timestamptz NOT NULL,
    FOREIGN KEY (tenant, name) REFERENCES principals (tenant, name)
);
CREATE INDEX account_invitations_of ON account_invitations (tenant, name);

-- Whoever shows the queue is told that it changed; one message a transaction, however many questions.
CREATE FUNCTION reviews_tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('chimera_queue', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER reviews_changed AFTER INSERT OR UPDATE ON reviews
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_tell_change();
