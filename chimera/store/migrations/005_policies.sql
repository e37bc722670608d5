-- The security policies that were put forward, by the hash of their text, and what a human said of each.

CREATE TABLE policies (
    digest      text PRIMARY KEY,
    title       text NOT NULL,
    body        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_at timestamptz NOT NULL,
    decided_at  timestamptz,
    decided_by  text,
    reason      text
);
CREATE INDEX policies_newest ON policies (decided_at DESC) WHERE state = 'approved';
