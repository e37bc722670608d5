-- What machines were how sure of, what humans said of it, and the certificates that let results pass unseen.

-- side: approve lets results pass that are at least as probable as threshold, reject sends back those at most as probable.
-- bound: the highest error rate that the labels leave possible. audits: of what passed, how many a human saw blind.
CREATE TABLE certificates (
    id        uuid PRIMARY KEY,
    tenant    text NOT NULL,
    point     text NOT NULL,
    topic     text NOT NULL,
    side      text NOT NULL CHECK (side IN ('approve', 'reject')),
    alpha     double precision NOT NULL CHECK (alpha > 0 AND alpha < 1),
    threshold double precision NOT NULL CHECK (threshold BETWEEN 0 AND 1),
    bound     double precision NOT NULL CHECK (bound BETWEEN 0 AND alpha),
    labels    integer NOT NULL CHECK (labels > 0),
    above     integer NOT NULL CHECK (above BETWEEN 1 AND labels),
    errors    integer NOT NULL CHECK (errors BETWEEN 0 AND above),
    model     jsonb NOT NULL,
    policy    text NOT NULL,
    made_by   text NOT NULL,
    made_at   timestamptz NOT NULL,
    closed_at timestamptz,
    why       text NOT NULL,
    CHECK (closed_at IS NULL OR closed_at >= made_at)
);
CREATE UNIQUE INDEX certificates_open ON certificates (tenant, point, topic, side) WHERE closed_at IS NULL;

-- One row for each judged result whose checks passed. band: who let it pass, certificate, or thresholds, or nobody.
-- propensity: the chance that a human saw it. audited: a human sees it blind, by lot.
CREATE TABLE judgements (
    id             uuid PRIMARY KEY,
    mission_id     uuid NOT NULL REFERENCES missions (id) ON DELETE CASCADE,
    tenant         text NOT NULL,
    point          text NOT NULL,
    topic          text NOT NULL,
    persona        text NOT NULL,
    features       jsonb NOT NULL,
    probability    double precision CHECK (probability BETWEEN 0 AND 1),
    band           text NOT NULL CHECK (band IN ('approve', 'reject', 'human', 'threshold')),
    certificate_id uuid REFERENCES certificates (id),
    propensity     double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    audited        boolean NOT NULL,
    review_id      uuid REFERENCES reviews (id) ON DELETE SET NULL,
    judged_at      timestamptz NOT NULL,
    CHECK ((band IN ('approve', 'reject')) = (certificate_id IS NOT NULL))
);
CREATE INDEX judgements_by_point ON judgements (tenant, point, topic, judged_at);
CREATE INDEX judgements_by_certificate ON judgements (certificate_id) WHERE audited;
CREATE INDEX judgements_by_review ON judgements (review_id);
CREATE INDEX judgements_by_mission ON judgements (mission_id);
