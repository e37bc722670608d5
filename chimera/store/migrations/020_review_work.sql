-- Questions as work that people share: who has one open, what it is worth, when it is due, who agreed, what was asked
-- back, and what is learnt from it.

-- kind: what it is about. amount, threat: of what it is about. weight: log2 of risk times value; rank orders the queue.
-- step: how often it went up the chain. needs: how many people have to agree. acts_at: when the decision is handed over;
-- until then it can be taken back. taken_at: when it was. passed_at: the mission ended or went on without an answer.
-- late: the answer came after that. batch: the bulk decision that it was part of.
ALTER TABLE reviews
    ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN kind text GENERATED ALWAYS AS
        (CASE WHEN payload ? 'capability' THEN 'call' ELSE coalesce(payload ->> 'kind', '') END) STORED,
    ADD COLUMN amount bigint NOT NULL DEFAULT 0 CHECK (amount >= 0),
    ADD COLUMN threat text NOT NULL DEFAULT 'none',
    ADD COLUMN requester text,
    ADD COLUMN weight double precision NOT NULL DEFAULT 0,
    ADD COLUMN rank double precision NOT NULL DEFAULT 0,
    ADD COLUMN due_at timestamptz NOT NULL DEFAULT now() + interval '4 hours',
    ADD COLUMN step integer NOT NULL DEFAULT 0 CHECK (step >= 0),
    ADD COLUMN overdue_at timestamptz,
    ADD COLUMN assigned_to text,
    ADD COLUMN claimed_by text,
    ADD COLUMN claimed_until timestamptz,
    ADD COLUMN needs integer NOT NULL DEFAULT 1 CHECK (needs > 0),
    ADD COLUMN acts_at timestamptz,
    ADD COLUMN taken_at timestamptz,
    ADD COLUMN passed_at timestamptz,
    ADD COLUMN late boolean NOT NULL DEFAULT false,
    ADD COLUMN batch uuid,
    ADD CONSTRAINT reviews_state CHECK (state IN ('open', 'asked', 'decided')),
    ADD CONSTRAINT reviews_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
    ADD CONSTRAINT reviews_acts CHECK ((state = 'decided') = (acts_at IS NOT NULL)) NOT VALID;

-- Doubles with every 8 hours of age, halves with every 4 hours that are left, times four for each step of the chain. As
-- all items age alike, none ever overtakes another by waiting: the order is a number that does not move.
-- The same numbers stand in chimera/review/priority.py; a test compares both.
CREATE FUNCTION review_rank(weight double precision, step integer, created timestamptz, due timestamptz)
RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT weight + 2 * step - extract(epoch FROM created) / 28800.0 - extract(epoch FROM due) / 14400.0
$$;

CREATE FUNCTION reviews_set_rank() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.rank := review_rank(NEW.weight, NEW.step, NEW.created_at, NEW.due_at);
    RETURN NEW;
END
$$;
CREATE TRIGGER reviews_rank BEFORE INSERT OR UPDATE OF weight, step, created_at, due_at ON reviews
    FOR EACH ROW EXECUTE FUNCTION reviews_set_rank();

UPDATE reviews SET due_at = created_at + interval '4 hours',
    acts_at = CASE WHEN state = 'decided' THEN coalesce(decided_at, now()) END,
    taken_at = CASE WHEN state = 'decided' THEN coalesce(decided_at, now()) END;
UPDATE reviews SET passed_at = m.updated_at FROM missions AS m
    WHERE m.id = mission_id AND reviews.state = 'open' AND m.status NOT IN ('running', 'waiting')
    AND kind NOT IN ('policy', 'incident', 'changed_tools') AND coalesce(payload ->> 'blocking', 'true') <> 'false';
ALTER TABLE reviews VALIDATE CONSTRAINT reviews_acts;

CREATE INDEX reviews_queue ON reviews (tenant, rank DESC, id) WHERE state = 'open' AND passed_at IS NULL;
CREATE INDEX reviews_due ON reviews (due_at) WHERE state = 'open' AND passed_at IS NULL AND overdue_at IS NULL;
CREATE INDEX reviews_by_mission ON reviews (mission_id);
CREATE INDEX reviews_by_batch ON reviews (batch) WHERE batch IS NOT NULL;

-- What a mission asked and went on without is no work any more; when it goes on after all, it is again.
CREATE FUNCTION reviews_follow_mission() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status IN ('running', 'waiting') THEN
        UPDATE reviews SET passed_at = NULL WHERE mission_id = NEW.id AND passed_at IS NOT NULL AND state <> 'decided';
    ELSE
        UPDATE reviews SET passed_at = now()
        WHERE mission_id = NEW.id AND passed_at IS NULL AND state <> 'decided'
        AND kind NOT IN ('policy', 'incident', 'changed_tools') AND coalesce(payload ->> 'blocking', 'true') <> 'false';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER missions_reviews AFTER UPDATE OF status ON missions
    FOR EACH ROW WHEN ((OLD.status IN ('running', 'waiting')) <> (NEW.status IN ('running', 'waiting')))
    EXECUTE FUNCTION reviews_follow_mission();

-- Who agreed to a question that several people have to agree to. decision: what they agreed to.
CREATE TABLE review_votes (
    review_id uuid NOT NULL REFERENCES reviews (id) ON DELETE CASCADE,
    reviewer  text NOT NULL CHECK (reviewer <> ''),
    version   integer NOT NULL,
    decision  jsonb NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (review_id, reviewer)
);

-- What a reviewer asked whoever did the work, and the answer. Neither is a decision.
CREATE TABLE review_notes (
    review_id  uuid NOT NULL REFERENCES reviews (id) ON DELETE CASCADE,
    number     integer NOT NULL CHECK (number > 0),
    asked_by   text NOT NULL,
    question   text NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    replied_by text,
    reply      text,
    replied_at timestamptz,
    PRIMARY KEY (review_id, number),
    CHECK ((reply IS NULL) = (replied_at IS NULL))
);

-- What people said as they rejected or edited, for those who plan and work under the same persona. persona: its digest.
CREATE TABLE review_guidance (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant     text NOT NULL,
    persona    text NOT NULL,
    about      text NOT NULL,
    point      text NOT NULL,
    kind       text NOT NULL,
    text       text NOT NULL CHECK (length(text) BETWEEN 1 AND 4000),
    said_by    text NOT NULL,
    review_id  uuid REFERENCES reviews (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_by text,
    removed_at timestamptz,
    CHECK ((removed_by IS NULL) = (removed_at IS NULL))
);
CREATE UNIQUE INDEX review_guidance_once ON review_guidance (tenant, persona, md5(text)) WHERE removed_at IS NULL;
CREATE INDEX review_guidance_newest ON review_guidance (tenant, persona, created_at DESC) WHERE removed_at IS NULL;
