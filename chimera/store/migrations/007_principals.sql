-- Who there is besides agents, and questions that no mission asks.

-- A row stays when somebody is removed: who decided what can still be looked up, and nobody is enrolled twice by itself.
CREATE TABLE principals (
    tenant      text NOT NULL,
    name        text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('human', 'service', 'peer')),
    roles       jsonb NOT NULL,
    reputation  integer NOT NULL CHECK (reputation BETWEEN 0 AND 100),
    enrolled_at timestamptz NOT NULL,
    enrolled_by text NOT NULL,
    removed_at  timestamptz,
    removed_by  text,
    PRIMARY KEY (tenant, name),
    CHECK ((removed_at IS NULL) = (removed_by IS NULL))
);

-- A changed policy and an incident can be asked about without a mission; everything else is a mission's question.
ALTER TABLE reviews ALTER COLUMN mission_id DROP NOT NULL;
ALTER TABLE reviews ADD COLUMN tenant text;
UPDATE reviews SET tenant = missions.tenant FROM missions WHERE missions.id = reviews.mission_id;
ALTER TABLE reviews ALTER COLUMN tenant SET NOT NULL;
ALTER TABLE reviews ADD CHECK (mission_id IS NOT NULL OR coalesce(payload ->> 'kind', '') IN ('policy', 'incident'));

-- proposed_by: the human who put it forward, if one did; review_id: the question about it.
ALTER TABLE policies ADD COLUMN proposed_by text;
ALTER TABLE policies ADD COLUMN review_id uuid;
CREATE UNIQUE INDEX policies_of_review ON policies (review_id);
CREATE UNIQUE INDEX incidents_of_review ON incidents (review_id);
