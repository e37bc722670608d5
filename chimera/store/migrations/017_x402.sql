-- What is bought and sold over HTTP 402. The money is in the tables of 013; here is what was signed and what came for it.

-- A purchase. request: digest of method, URL and body. offer: what the seller asked for, word for word, of which the
-- payment is. header: the signed authorisation, the only one that there is for the payment; nothing changes it once it is
-- there, so whatever is sent again is the same. goods: what came, as much of it as is kept.
CREATE TABLE x402_payments (
    intent       uuid PRIMARY KEY REFERENCES intents (id),
    tenant       text NOT NULL,
    key          text NOT NULL,
    method       text NOT NULL,
    url          text NOT NULL,
    body         bytea NOT NULL,
    request      bytea NOT NULL,
    offer        jsonb NOT NULL,
    payer        text,
    nonce        bytea UNIQUE,
    valid_before bigint,
    header       text,
    signed_at    timestamptz,
    sent         integer NOT NULL DEFAULT 0,
    transaction  text,
    status       integer,
    media_type   text,
    goods        bytea,
    came_at      timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant, key),
    CHECK ((header IS NULL) = (nonce IS NULL) AND (header IS NULL) = (payer IS NULL)
        AND (header IS NULL) = (valid_before IS NULL) AND (header IS NULL) = (signed_at IS NULL)),
    CHECK ((goods IS NULL) = (status IS NULL) AND (goods IS NULL) = (came_at IS NULL))
);

CREATE FUNCTION x402_payments_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a purchase is kept';
    END IF;
    IF (NEW.intent, NEW.tenant, NEW.key, NEW.method, NEW.url, NEW.body, NEW.request, NEW.offer)
        IS DISTINCT FROM (OLD.intent, OLD.tenant, OLD.key, OLD.method, OLD.url, OLD.body, OLD.request, OLD.offer) THEN
        RAISE EXCEPTION 'what is bought never changes';
    END IF;
    IF OLD.header IS NOT NULL AND (NEW.header, NEW.payer, NEW.nonce, NEW.valid_before, NEW.signed_at)
        IS DISTINCT FROM (OLD.header, OLD.payer, OLD.nonce, OLD.valid_before, OLD.signed_at) THEN
        RAISE EXCEPTION 'there is one authorisation for a purchase';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER x402_payments_guarded BEFORE UPDATE OR DELETE ON x402_payments
    FOR EACH ROW EXECUTE FUNCTION x402_payments_guard();

-- A sale, by what the buyer signed. request: digest of method, path and body, so that one payment buys one thing.
-- state: serving (somebody makes the answer), made (it is kept, and the payment is being made), settled.
CREATE TABLE x402_sales (
    asset       text NOT NULL,
    payer       text NOT NULL,
    nonce       bytea NOT NULL,
    request     bytea NOT NULL,
    amount      numeric(78, 0) NOT NULL CHECK (amount > 0),
    state       text NOT NULL CHECK (state IN ('serving', 'made', 'settled')),
    transaction text NOT NULL DEFAULT '',
    status      integer,
    media_type  text,
    answer      bytea,
    touched_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (asset, payer, nonce),
    CHECK (state = 'serving' OR (status IS NOT NULL AND answer IS NOT NULL))
);
