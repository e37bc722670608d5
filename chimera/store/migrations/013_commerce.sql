-- Money: assets, payment intents, holds, budgets, and the journal of a double-entry ledger. Amounts are whole atomic
-- units, all times are of this server's clock, and every operation is one function, so one round trip. What holds:
--   * locks are taken in one order everywhere: intents by id, then budgets by id;
--   * what is looked up is looked up by an index, however many budgets and payments there are (SET enable_seqscan);
--   * an operation says what came of it as a word, so that one of a batch fails alone;
--   * where the connected role may, all of it is owned by a role of its own (end of this file), and whoever is connected
--     can read the tables and call the functions, and no more. A later migration of these tables does so as their owner.

SELECT set_config('chimera.search_path', current_setting('search_path'), true),
       set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- id: as CAIP-19 writes it, such as eip155:1/erc20:0x...; chain_id: null is money on a rail outside of chains; address:
-- null is the chain's own coin.
CREATE TABLE assets (
    id         text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 120),
    symbol     text NOT NULL CHECK (length(symbol) BETWEEN 1 AND 12),
    chain_id   bigint CHECK (chain_id > 0),
    address    text CHECK (address ~ '^0x[0-9a-fA-F]{40}$'),
    decimals   integer NOT NULL CHECK (decimals BETWEEN 0 AND 27),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (address IS NULL OR chain_id IS NOT NULL)
);
-- The dollars that prices of models are in.
INSERT INTO assets (id, symbol, decimals) VALUES ('iso4217:USD', 'USD', 6);

-- What a payment may become, as data. fresh: only before the intent expires.
CREATE TABLE intent_transitions (
    from_state text NOT NULL,
    to_state   text NOT NULL,
    fresh      boolean NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO intent_transitions (from_state, to_state, fresh) VALUES
    ('proposed', 'screened', true), ('proposed', 'rejected', false), ('proposed', 'expired', false),
    ('screened', 'approved', true), ('screened', 'escalated', true), ('screened', 'rejected', false),
    ('screened', 'expired', false),
    ('escalated', 'approved', true), ('escalated', 'rejected', false), ('escalated', 'expired', false),
    ('approved', 'reserved', true), ('approved', 'rejected', false), ('approved', 'expired', false),
    ('reserved', 'signed', true), ('reserved', 'released', false), ('reserved', 'expired', false),
    ('signed', 'broadcast', false), ('signed', 'unknown', false), ('signed', 'quarantined', false),
    ('signed', 'failed', false),
    ('broadcast', 'confirmed', false), ('broadcast', 'unknown', false), ('broadcast', 'quarantined', false),
    ('broadcast', 'failed', false),
    ('unknown', 'broadcast', false), ('unknown', 'confirmed', false), ('unknown', 'quarantined', false),
    ('unknown', 'failed', false),
    ('quarantined', 'broadcast', false), ('quarantined', 'confirmed', false), ('quarantined', 'failed', false),
    ('confirmed', 'captured', false), ('confirmed', 'broadcast', false), ('confirmed', 'quarantined', false),
    ('failed', 'released', false),
    ('captured', 'delivered', false), ('captured', 'paid_undelivered', false), ('captured', 'refunded', false),
    ('paid_undelivered', 'delivered', false), ('paid_undelivered', 'refunded', false),
    ('delivered', 'refunded', false);

-- A proposed payment. Everything up to digest never changes; request is the digest of what was asked for, digest that of
-- it with the id and the expiry. head: the hash of its newest entry in the journal.
CREATE TABLE intents (
    id             uuid PRIMARY KEY,
    tenant         text NOT NULL,
    key            text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    payee          text NOT NULL CHECK (length(payee) BETWEEN 1 AND 300),
    asset          text NOT NULL REFERENCES assets (id),
    chain_id       bigint,
    amount         numeric(78, 0) NOT NULL CHECK (amount > 0 AND amount < 1e30),
    fee_asset      text NOT NULL REFERENCES assets (id),
    fee_cap        numeric(78, 0) NOT NULL CHECK (fee_cap >= 0 AND fee_cap < 1e30),
    purpose        text NOT NULL CHECK (length(btrim(purpose)) BETWEEN 1 AND 2000),
    category       text NOT NULL CHECK (length(category) BETWEEN 1 AND 64),
    agent          text NOT NULL CHECK (length(agent) BETWEEN 1 AND 300),
    pool           text NOT NULL,
    team           text NOT NULL,
    mission        text NOT NULL,
    policy_version text NOT NULL CHECK (length(policy_version) BETWEEN 1 AND 200),
    ttl_s          integer NOT NULL CHECK (ttl_s BETWEEN 1 AND 2592000),
    expires_at     timestamptz NOT NULL,
    request        bytea NOT NULL,
    digest         bytea NOT NULL,
    state          text NOT NULL DEFAULT 'proposed',
    place          integer NOT NULL DEFAULT 0,
    moved_by       text NOT NULL,
    why            text NOT NULL DEFAULT '',
    head           bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000',
    created_at     timestamptz NOT NULL,
    moved_at       timestamptz NOT NULL,
    UNIQUE (tenant, key)
) WITH (fillfactor = 70);
CREATE INDEX intents_expiring ON intents (expires_at)
    WHERE state IN ('proposed', 'screened', 'escalated', 'approved', 'reserved');
CREATE INDEX intents_by_state ON intents (tenant, state, created_at);

-- Every change of an intent's state.
CREATE TABLE intent_moves (
    intent     uuid NOT NULL REFERENCES intents (id),
    place      integer NOT NULL,
    from_state text NOT NULL,
    to_state   text NOT NULL,
    moved_by   text NOT NULL,
    why        text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (intent, place)
);

-- Reserved money: of an intent its amount, and the most that it may cost in fees. budgets: those that it counts in.
CREATE TABLE holds (
    intent     uuid NOT NULL REFERENCES intents (id),
    leg        text NOT NULL CHECK (leg IN ('amount', 'fee')),
    asset      text NOT NULL REFERENCES assets (id),
    amount     numeric(78, 0) NOT NULL CHECK (amount > 0 AND amount < 1e30),
    captured   numeric(78, 0) NOT NULL DEFAULT 0,
    refunded   numeric(78, 0) NOT NULL DEFAULT 0,
    state      text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'captured', 'released')),
    budgets    bigint[] NOT NULL,
    held_at    timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (intent, leg),
    CHECK (captured >= 0 AND captured <= amount),
    CHECK (refunded >= 0 AND refunded <= captured),
    CHECK ((state = 'held') = (settled_at IS NULL)),
    CHECK (state = 'captured' OR captured = 0)
) WITH (fillfactor = 70);

-- scope: whose spending counts, and subject which one of them ('' for a tenant). period: total, a calendar day, week or
-- month (UTC), or rolling over window_s seconds. held counts as long as it is held, whenever that began; posted is what
-- was captured within the period or window, less what was refunded of it. ceiling: what was used when the cap was set
-- below it. since: where the calendar period began, or up to where a rolling budget has forgotten. latest: the newest
-- time that it was used at: a clock that is set back does not open it.
CREATE TABLE budgets (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant   text NOT NULL,
    scope    text NOT NULL CHECK (scope IN ('tenant', 'category', 'pool', 'team', 'mission', 'agent')),
    subject  text NOT NULL CHECK ((scope = 'tenant') = (subject = '')),
    asset    text NOT NULL REFERENCES assets (id),
    period   text NOT NULL CHECK (period IN ('total', 'day', 'week', 'month', 'rolling')),
    window_s integer NOT NULL CHECK ((period = 'rolling') = (window_s > 0) AND window_s BETWEEN 0 AND 31622400),
    cap      numeric(78, 0) NOT NULL CHECK (cap >= 0 AND cap < 1e60),
    ceiling  numeric(78, 0) NOT NULL DEFAULT 0,
    held     numeric(78, 0) NOT NULL DEFAULT 0,
    posted   numeric(78, 0) NOT NULL DEFAULT 0,
    since    timestamptz NOT NULL,
    latest   timestamptz NOT NULL,
    frozen   boolean NOT NULL DEFAULT false,
    set_by   text NOT NULL,
    set_at   timestamptz NOT NULL,
    UNIQUE (tenant, asset, scope, subject, period, window_s),
    CONSTRAINT budgets_never_overspent CHECK (held >= 0 AND posted >= 0 AND held + posted <= greatest(cap, ceiling))
) WITH (fillfactor = 20);

-- What a rolling budget still counts.
CREATE TABLE budget_spends (
    budget_id bigint NOT NULL REFERENCES budgets (id),
    intent    uuid NOT NULL,
    leg       text NOT NULL,
    at        timestamptz NOT NULL,
    amount    numeric(78, 0) NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (budget_id, intent, leg)
);
CREATE INDEX budget_spends_by_time ON budget_spends (budget_id, at);

-- Double entry: each row takes amount from one account and gives it to another. hash = sha256 of the row with the hash
-- of the intent's row before it (zeros before its first). key: the same thing is entered once.
CREATE TABLE journal (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant    text NOT NULL,
    key       text NOT NULL,
    intent    uuid REFERENCES intents (id),
    leg       text NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('hold', 'capture', 'release', 'refund', 'deposit')),
    debit     text NOT NULL,
    credit    text NOT NULL,
    asset     text NOT NULL REFERENCES assets (id),
    amount    numeric(78, 0) NOT NULL CHECK (amount > 0 AND amount < 1e60),
    at        timestamptz NOT NULL,
    prev_hash bytea NOT NULL,
    hash      bytea NOT NULL,
    UNIQUE (tenant, key),
    CHECK (debit <> credit)
);
CREATE INDEX journal_of_intent ON journal (intent, seq);
CREATE INDEX journal_by_time ON journal (tenant, at);

-- The hashes of a tenant's rows from first to upto, as one; the same is on the audit record.
CREATE TABLE journal_seals (
    tenant  text NOT NULL,
    upto    bigint NOT NULL,
    first   bigint NOT NULL,
    entries bigint NOT NULL,
    digest  bytea NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (tenant, upto)
);

-- The one clock of all this. No function takes a time from whoever calls it.
CREATE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;

-- SHA-256 of texts, each with its length in bytes before it, so that no two lists of texts are the same bytes.
CREATE FUNCTION ledger_digest(VARIADIC parts text[]) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(string_agg(
        convert_to(octet_length(convert_to(coalesce(p, ''), 'UTF8')) || ':' || coalesce(p, ''), 'UTF8'),
        ','::bytea ORDER BY n
    )) FROM unnest(parts) WITH ORDINALITY AS u (p, n)
$$;

CREATE FUNCTION ledger_micros(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT (extract(epoch FROM at) * 1000000)::bigint::text
$$;

-- Where the calendar period of a time begins; forever for what has none.
CREATE FUNCTION budget_begin(period text, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN period IN ('day', 'week', 'month') THEN date_trunc(period, at, 'UTC') ELSE '-infinity' END
$$;

-- --- what never changes ---

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER journal_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_seals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER intent_moves_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON intent_moves
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER intent_transitions_fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON intent_transitions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER assets_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON assets
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER intents_stay BEFORE DELETE OR TRUNCATE ON intents
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER holds_stay BEFORE DELETE OR TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER budgets_stay BEFORE DELETE OR TRUNCATE ON budgets
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- An intent begins as proposed, keeps its payload, and changes its state only along the transitions above.
CREATE FUNCTION intents_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    only_fresh boolean;
    now_at timestamptz;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'proposed' OR NEW.place <> 0 THEN
            RAISE EXCEPTION 'an intent begins as proposed';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.tenant, NEW.key, NEW.payee, NEW.asset, NEW.chain_id, NEW.amount, NEW.fee_asset, NEW.fee_cap, NEW.purpose,
        NEW.category, NEW.agent, NEW.pool, NEW.team, NEW.mission, NEW.policy_version, NEW.ttl_s, NEW.expires_at,
        NEW.request, NEW.digest, NEW.created_at)
        IS DISTINCT FROM
       (OLD.id, OLD.tenant, OLD.key, OLD.payee, OLD.asset, OLD.chain_id, OLD.amount, OLD.fee_asset, OLD.fee_cap, OLD.purpose,
        OLD.category, OLD.agent, OLD.pool, OLD.team, OLD.mission, OLD.policy_version, OLD.ttl_s, OLD.expires_at,
        OLD.request, OLD.digest, OLD.created_at) THEN
        RAISE EXCEPTION 'what an intent asks for never changes';
    END IF;
    IF NEW.state = OLD.state THEN
        NEW.place := OLD.place;
        RETURN NEW;
    END IF;
    SELECT t.fresh INTO only_fresh FROM intent_transitions AS t WHERE t.from_state = OLD.state AND t.to_state = NEW.state;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an intent that is % does not become %', OLD.state, NEW.state;
    END IF;
    now_at := ledger_now();
    IF only_fresh AND NEW.expires_at <= now_at THEN
        RAISE EXCEPTION 'an intent that has expired does not become %', NEW.state;
    END IF;
    NEW.place := OLD.place + 1;
    NEW.moved_at := now_at;
    INSERT INTO intent_moves (intent, place, from_state, to_state, moved_by, why, at)
    VALUES (NEW.id, NEW.place, OLD.state, NEW.state, NEW.moved_by, NEW.why, now_at);
    RETURN NEW;
END
$$;
CREATE TRIGGER intents_guarded BEFORE INSERT OR UPDATE ON intents FOR EACH ROW EXECUTE FUNCTION intents_guard();

-- --- intents ---

-- Writes an intent down, or finds the one of that key. outcome: ok, duplicate (the same was asked before), conflict (the
-- key stands for something else), asset, chain.
CREATE FUNCTION propose_intent(
    p_id uuid, p_tenant text, p_key text, p_payee text, p_asset text, p_chain_id bigint, p_amount numeric,
    p_fee_asset text, p_fee_cap numeric, p_purpose text, p_category text, p_agent text, p_pool text, p_team text,
    p_mission text, p_policy_version text, p_ttl_s integer
) RETURNS TABLE (outcome text, intent uuid) LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    asked bytea;
    expiry timestamptz;
    found_id uuid;
    found_request bytea;
    known record;
BEGIN
    SELECT a.chain_id INTO known FROM assets AS a WHERE a.id = p_asset;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM assets AS a WHERE a.id = p_fee_asset) THEN
        RETURN QUERY SELECT 'asset', NULL::uuid;
        RETURN;
    END IF;
    IF known.chain_id IS DISTINCT FROM p_chain_id THEN
        RETURN QUERY SELECT 'chain', NULL::uuid;
        RETURN;
    END IF;
    IF p_amount IS NULL OR NOT (p_amount > 0 AND p_amount < 1e30) OR p_amount <> trunc(p_amount)
        OR p_fee_cap IS NULL OR NOT (p_fee_cap >= 0 AND p_fee_cap < 1e30) OR p_fee_cap <> trunc(p_fee_cap) THEN
        RETURN QUERY SELECT 'bad_amount', NULL::uuid;
        RETURN;
    END IF;
    asked := ledger_digest(
        'chimera-request-1', p_tenant, p_key, p_payee, p_asset, coalesce(p_chain_id::text, ''), trunc(p_amount)::text,
        p_fee_asset, trunc(p_fee_cap)::text, p_purpose, p_category, p_agent, p_pool, p_team, p_mission,
        p_policy_version, p_ttl_s::text
    );
    expiry := date_trunc('second', ledger_now()) + make_interval(secs => p_ttl_s);
    INSERT INTO intents (
        id, tenant, key, payee, asset, chain_id, amount, fee_asset, fee_cap, purpose, category, agent, pool, team, mission,
        policy_version, ttl_s, expires_at, request, digest, moved_by, created_at, moved_at
    ) VALUES (
        p_id, p_tenant, p_key, p_payee, p_asset, p_chain_id, p_amount, p_fee_asset, p_fee_cap, p_purpose, p_category, p_agent,
        p_pool, p_team, p_mission, p_policy_version, p_ttl_s, expiry, asked,
        ledger_digest('chimera-intent-1', p_id::text, encode(asked, 'hex'), extract(epoch FROM expiry)::bigint::text),
        p_agent, ledger_now(), ledger_now()
    ) ON CONFLICT (tenant, key) DO NOTHING;
    IF FOUND THEN
        RETURN QUERY SELECT 'ok', p_id;
        RETURN;
    END IF;
    SELECT i.id, i.request INTO found_id, found_request FROM intents AS i WHERE i.tenant = p_tenant AND i.key = p_key;
    RETURN QUERY SELECT CASE WHEN found_request = asked THEN 'duplicate' ELSE 'conflict' END, found_id;
END
$$;

-- Moves an intent on, if it is in one of the expected states. Where money moves along with the state, the functions
-- below do both. outcome: ok, duplicate (it is there already), unknown, money, state, expired; state: where it is now.
CREATE FUNCTION move_intent(p_id uuid, p_from text[], p_to text, p_by text, p_why text)
RETURNS TABLE (outcome text, state text) LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    i intents;
    only_fresh boolean;
BEGIN
    SELECT * INTO i FROM intents AS n WHERE n.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'unknown', NULL::text;
    ELSIF p_to IN ('reserved', 'captured', 'released', 'refunded', 'expired') THEN
        RETURN QUERY SELECT 'money', i.state;
    ELSIF i.state = p_to THEN
        RETURN QUERY SELECT 'duplicate', i.state;
    ELSIF NOT i.state = ANY (p_from) THEN
        RETURN QUERY SELECT 'state', i.state;
    ELSE
        SELECT t.fresh INTO only_fresh FROM intent_transitions AS t WHERE t.from_state = i.state AND t.to_state = p_to;
        IF NOT FOUND THEN
            RETURN QUERY SELECT 'state', i.state;
        ELSIF only_fresh AND i.expires_at <= ledger_now() THEN
            RETURN QUERY SELECT 'expired', i.state;
        ELSE
            UPDATE intents AS n SET state = p_to, moved_by = p_by, why = p_why WHERE n.id = p_id;
            RETURN QUERY SELECT 'ok', p_to;
        END IF;
    END IF;
END
$$;

-- --- the journal ---

CREATE FUNCTION ledger_enter(
    p_tenant text, p_key text, p_intent uuid, p_leg text, p_kind text, p_debit text, p_credit text, p_asset text,
    p_amount numeric, p_at timestamptz, p_prev bytea
) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    made bytea := ledger_digest(
        'chimera-entry-1', encode(p_prev, 'hex'), p_tenant, p_key, coalesce(p_intent::text, ''), p_leg, p_kind, p_debit,
        p_credit, p_asset, trunc(p_amount)::text, ledger_micros(p_at)
    );
BEGIN
    INSERT INTO journal (tenant, key, intent, leg, kind, debit, credit, asset, amount, at, prev_hash, hash)
    VALUES (p_tenant, p_key, p_intent, p_leg, p_kind, p_debit, p_credit, p_asset, p_amount, p_at, p_prev, made);
    RETURN made;
END
$$;

-- --- budgets ---

-- Brings budgets, which are locked, to a time: a calendar period that is over counts no more, nor does what has left a
-- rolling window.
CREATE FUNCTION ledger_advance(p_ids bigint[], p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    b record;
    gone numeric;
BEGIN
    FOR b IN SELECT id, period, window_s, since FROM budgets WHERE id = ANY (p_ids) AND period <> 'total' LOOP
        IF b.period = 'rolling' THEN
            WITH forgotten AS (
                DELETE FROM budget_spends
                WHERE budget_id = b.id AND at <= p_at - make_interval(secs => b.window_s) RETURNING amount
            ) SELECT coalesce(sum(amount), 0) INTO gone FROM forgotten;
            IF gone > 0 THEN
                UPDATE budgets SET posted = posted - gone WHERE id = b.id;
            END IF;
        ELSIF budget_begin(b.period, p_at) > b.since THEN
            UPDATE budgets SET posted = 0, since = budget_begin(b.period, p_at) WHERE id = b.id;
        END IF;
    END LOOP;
END
$$;

-- Makes or changes a budget. What is used already is never above what may be used: a lower cap only keeps more from
-- being spent. Only a role that owns the ledger may call it (end of this file).
CREATE FUNCTION set_budget(
    p_tenant text, p_scope text, p_subject text, p_asset text, p_period text, p_window_s integer, p_cap numeric,
    p_frozen boolean, p_by text
) RETURNS SETOF budgets LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    moment timestamptz;
    b budgets;
BEGIN
    IF p_cap IS NULL OR NOT (p_cap >= 0) OR p_cap <> trunc(p_cap) THEN
        RAISE EXCEPTION 'a cap is a whole number of atomic units';
    END IF;
    INSERT INTO budgets (tenant, scope, subject, asset, period, window_s, cap, since, latest, set_by, set_at)
    VALUES (p_tenant, p_scope, p_subject, p_asset, p_period, p_window_s, p_cap, budget_begin(p_period, ledger_now()),
        ledger_now(), p_by, ledger_now())
    ON CONFLICT (tenant, asset, scope, subject, period, window_s) DO NOTHING;
    SELECT * INTO b FROM budgets
    WHERE (tenant, asset, scope, subject, period, window_s) = (p_tenant, p_asset, p_scope, p_subject, p_period, p_window_s)
    FOR UPDATE;
    moment := greatest(ledger_now(), b.latest);
    PERFORM ledger_advance(ARRAY[b.id], moment);
    RETURN QUERY UPDATE budgets SET cap = p_cap, frozen = p_frozen, set_by = p_by, set_at = moment, latest = moment,
        ceiling = CASE WHEN held + posted > p_cap THEN held + posted ELSE 0 END
    WHERE id = b.id RETURNING *;
END
$$;

-- The budgets that count a leg of an intent: every one that there is for its asset and whose it is.
CREATE FUNCTION budgets_of(i intents, p_asset text) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT m.id FROM (VALUES ('tenant', ''), ('category', i.category), ('pool', i.pool), ('team', i.team),
        ('mission', i.mission), ('agent', i.agent)) AS w (scope, subject)
    CROSS JOIN LATERAL (
        SELECT b.id FROM budgets AS b
        WHERE b.tenant = i.tenant AND b.asset = p_asset AND b.scope = w.scope AND b.subject = w.subject
        OFFSET 0  -- looked up one by one, whatever the planner thinks of how many budgets a tenant has
    ) AS m
$$;

-- Reserves the amount and the fee cap of approved intents, in the order given. digests: what was approved; needs: ids of
-- budgets that must be among those that count it, as text such as {1,2}. outcome: ok, duplicate, unknown, digest, state,
-- expired, uncovered (no budget counts an asset of it), budget (one that was named does not), over, frozen; detail: the
-- budget, the state or the asset.
CREATE FUNCTION reserve_intents(p_ids uuid[], p_digests bytea[], p_needs text[], p_by text)
RETURNS TABLE (intent uuid, outcome text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;
    all_budgets bigint[];
    nth integer;
    i intents;
    of_amount bigint[];
    of_fee bigint[];
    fee numeric;
    bad record;
    chain bytea;
BEGIN
    PERFORM FROM intents AS n WHERE n.id = ANY (p_ids) ORDER BY n.id FOR UPDATE;
    SELECT array_agg(DISTINCT b) INTO all_budgets FROM intents AS n
    CROSS JOIN LATERAL (
        SELECT b FROM budgets_of(n, n.asset) AS b
        UNION ALL SELECT b FROM budgets_of(n, n.fee_asset) AS b WHERE n.fee_cap > 0
    ) AS m
    WHERE n.id = ANY (p_ids) AND n.state = 'approved';
    PERFORM FROM budgets AS b WHERE b.id = ANY (all_budgets) ORDER BY b.id FOR UPDATE;
    SELECT greatest(ledger_now(), max(b.latest)) INTO moment FROM budgets AS b WHERE b.id = ANY (all_budgets);
    PERFORM ledger_advance(all_budgets, moment);
    FOR nth IN 1 .. cardinality(p_ids) LOOP
        SELECT * INTO i FROM intents AS n WHERE n.id = p_ids[nth];
        IF NOT FOUND THEN
            RETURN QUERY SELECT p_ids[nth], 'unknown', '';
            CONTINUE;
        END IF;
        IF i.digest IS DISTINCT FROM p_digests[nth] THEN
            RETURN QUERY SELECT i.id, 'digest', '';
            CONTINUE;
        END IF;
        IF i.state <> 'approved' THEN
            RETURN QUERY SELECT i.id, CASE WHEN i.state = 'reserved' THEN 'duplicate' ELSE 'state' END, i.state;
            CONTINUE;
        END IF;
        IF i.expires_at <= ledger_now() THEN
            RETURN QUERY SELECT i.id, 'expired', i.state;
            CONTINUE;
        END IF;
        -- Only what is locked counts: a budget that was made since then holds from the next payment on.
        SELECT coalesce(array_agg(b ORDER BY b), '{}') INTO of_amount FROM budgets_of(i, i.asset) AS b
        WHERE b = ANY (all_budgets);
        of_fee := '{}';
        fee := i.fee_cap;
        IF fee > 0 THEN
            SELECT coalesce(array_agg(b ORDER BY b), '{}') INTO of_fee FROM budgets_of(i, i.fee_asset) AS b
            WHERE b = ANY (all_budgets);
        END IF;
        IF cardinality(of_amount) = 0 OR fee > 0 AND cardinality(of_fee) = 0 THEN
            RETURN QUERY SELECT i.id, 'uncovered', CASE WHEN cardinality(of_amount) = 0 THEN i.asset ELSE i.fee_asset END;
            CONTINUE;
        END IF;
        SELECT n INTO bad FROM unnest(p_needs[nth]::bigint[]) AS n WHERE NOT n = ANY (of_amount || of_fee) LIMIT 1;
        IF FOUND THEN
            RETURN QUERY SELECT i.id, 'budget', bad.n::text;
            CONTINUE;
        END IF;
        SELECT b.id, b.frozen INTO bad FROM budgets AS b WHERE b.id = ANY (of_amount || of_fee) AND (
            b.frozen OR b.held + b.posted + CASE WHEN b.id = ANY (of_amount) THEN i.amount ELSE 0 END
                + CASE WHEN b.id = ANY (of_fee) THEN fee ELSE 0 END > b.cap
        ) ORDER BY b.id LIMIT 1;
        IF FOUND THEN
            RETURN QUERY SELECT i.id, CASE WHEN bad.frozen THEN 'frozen' ELSE 'over' END, bad.id::text;
            CONTINUE;
        END IF;
        UPDATE budgets AS b SET latest = moment, held = b.held + CASE WHEN b.id = ANY (of_amount) THEN i.amount ELSE 0 END
            + CASE WHEN b.id = ANY (of_fee) THEN fee ELSE 0 END
        WHERE b.id = ANY (of_amount || of_fee);
        INSERT INTO holds (intent, leg, asset, amount, budgets, held_at)
        VALUES (i.id, 'amount', i.asset, i.amount, of_amount, moment);
        chain := ledger_enter(i.tenant, i.id || '/amount/hold', i.id, 'amount', 'hold', 'reserved:' || i.agent,
            'wallet:' || i.agent, i.asset, i.amount, moment, i.head);
        IF fee > 0 THEN
            INSERT INTO holds (intent, leg, asset, amount, budgets, held_at)
            VALUES (i.id, 'fee', i.fee_asset, fee, of_fee, moment);
            chain := ledger_enter(i.tenant, i.id || '/fee/hold', i.id, 'fee', 'hold', 'reserved:' || i.agent,
                'wallet:' || i.agent, i.fee_asset, fee, moment, chain);
        END IF;
        UPDATE intents AS n SET state = 'reserved', head = chain, moved_by = p_by, why = '' WHERE n.id = i.id;
        RETURN QUERY SELECT i.id, 'ok', '';
    END LOOP;
END
$$;

-- Ends the hold of one leg of an intent, all locked: takes what was spent and gives back the rest; the chain's new head.
CREATE FUNCTION ledger_settle(i intents, p_leg text, p_spent numeric, p_at timestamptz, p_prev bytea)
RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    h holds;
    chain bytea := p_prev;
BEGIN
    SELECT * INTO h FROM holds WHERE intent = i.id AND leg = p_leg AND state = 'held';
    IF NOT FOUND THEN
        RETURN chain;
    END IF;
    UPDATE budgets SET held = held - h.amount, posted = posted + p_spent, latest = greatest(latest, p_at)
    WHERE id = ANY (h.budgets);
    IF p_spent > 0 THEN
        INSERT INTO budget_spends (budget_id, intent, leg, at, amount)
        SELECT id, i.id, p_leg, p_at, p_spent FROM budgets WHERE id = ANY (h.budgets) AND period = 'rolling';
        chain := ledger_enter(i.tenant, i.id || '/' || p_leg || '/capture', i.id, p_leg, 'capture',
            'spent:' || CASE WHEN p_leg = 'fee' THEN 'fees' ELSE i.category END, 'reserved:' || i.agent, h.asset,
            p_spent, p_at, chain);
    END IF;
    IF p_spent < h.amount THEN
        chain := ledger_enter(i.tenant, i.id || '/' || p_leg || '/release', i.id, p_leg, 'release', 'wallet:' || i.agent,
            'reserved:' || i.agent, h.asset, h.amount - p_spent, p_at, chain);
    END IF;
    UPDATE holds SET state = CASE WHEN p_spent > 0 THEN 'captured' ELSE 'released' END, captured = p_spent, settled_at = p_at
    WHERE intent = i.id AND leg = p_leg;
    RETURN chain;
END
$$;

-- Locks intents and the budgets that their holds count in, and brings those to now.
CREATE FUNCTION ledger_lock(p_ids uuid[]) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    all_budgets bigint[];
    moment timestamptz;
BEGIN
    PERFORM FROM intents WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(DISTINCT b) INTO all_budgets FROM holds CROSS JOIN unnest(budgets) AS b WHERE intent = ANY (p_ids);
    PERFORM FROM budgets WHERE id = ANY (all_budgets) ORDER BY id FOR UPDATE;
    SELECT greatest(ledger_now(), max(latest)) INTO moment FROM budgets WHERE id = ANY (all_budgets);
    PERFORM ledger_advance(all_budgets, moment);
    RETURN moment;
END
$$;

-- Captures confirmed payments: amounts and fees are what was spent, null is all that is held; the rest is given back.
-- outcome: ok, duplicate, conflict (captured before, with other amounts), unknown, state, bad_amount, too_much.
CREATE FUNCTION capture_intents(p_ids uuid[], p_amounts numeric[], p_fees numeric[], p_by text)
RETURNS TABLE (intent uuid, outcome text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := ledger_lock(p_ids);
    nth integer;
    i intents;
    held_amount numeric;
    held_fee numeric;
    was_amount numeric;
    was_fee numeric;
    amount numeric;
    fee numeric;
    chain bytea;
BEGIN
    FOR nth IN 1 .. cardinality(p_ids) LOOP
        SELECT * INTO i FROM intents AS n WHERE n.id = p_ids[nth];
        IF NOT FOUND THEN
            RETURN QUERY SELECT p_ids[nth], 'unknown', '';
            CONTINUE;
        END IF;
        SELECT coalesce(sum(h.amount) FILTER (WHERE h.leg = 'amount'), 0), coalesce(sum(h.amount) FILTER (WHERE h.leg = 'fee'), 0),
            coalesce(sum(h.captured) FILTER (WHERE h.leg = 'amount'), 0), coalesce(sum(h.captured) FILTER (WHERE h.leg = 'fee'), 0)
        INTO held_amount, held_fee, was_amount, was_fee FROM holds AS h WHERE h.intent = i.id;
        amount := coalesce(p_amounts[nth], held_amount);
        fee := coalesce(p_fees[nth], held_fee);
        IF i.state IN ('captured', 'delivered', 'paid_undelivered', 'refunded') THEN
            RETURN QUERY SELECT i.id, CASE WHEN coalesce(p_amounts[nth], was_amount) = was_amount
                AND coalesce(p_fees[nth], was_fee) = was_fee THEN 'duplicate' ELSE 'conflict' END, i.state;
        ELSIF i.state <> 'confirmed' THEN
            RETURN QUERY SELECT i.id, 'state', i.state;
        ELSIF NOT (amount > 0 AND amount < 1e30 AND fee >= 0 AND fee < 1e30) OR amount <> trunc(amount) OR fee <> trunc(fee) THEN
            RETURN QUERY SELECT i.id, 'bad_amount', '';
        ELSIF amount > held_amount OR fee > held_fee THEN
            RETURN QUERY SELECT i.id, 'too_much', CASE WHEN amount > held_amount THEN held_amount ELSE held_fee END::text;
        ELSE
            chain := ledger_settle(i, 'amount', amount, moment, i.head);
            chain := ledger_settle(i, 'fee', fee, moment, chain);
            UPDATE intents AS n SET state = 'captured', head = chain, moved_by = p_by, why = '' WHERE n.id = i.id;
            RETURN QUERY SELECT i.id, 'ok', '';
        END IF;
    END LOOP;
END
$$;

-- Gives back what is held for payments that were not signed, or that are known to have failed; those may have cost fees,
-- and those alone. outcome: ok, duplicate, unknown, state, bad_amount, too_much.
CREATE FUNCTION release_intents(p_ids uuid[], p_fees numeric[], p_by text, p_why text)
RETURNS TABLE (intent uuid, outcome text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := ledger_lock(p_ids);
    nth integer;
    i intents;
    held_fee numeric;
    fee numeric;
    chain bytea;
BEGIN
    FOR nth IN 1 .. cardinality(p_ids) LOOP
        SELECT * INTO i FROM intents AS n WHERE n.id = p_ids[nth];
        IF NOT FOUND THEN
            RETURN QUERY SELECT p_ids[nth], 'unknown', '';
            CONTINUE;
        END IF;
        fee := coalesce(p_fees[nth], 0);
        SELECT coalesce(sum(h.amount), 0) INTO held_fee FROM holds AS h WHERE h.intent = i.id AND h.leg = 'fee';
        IF NOT (fee >= 0 AND fee < 1e30) OR fee <> trunc(fee) THEN
            RETURN QUERY SELECT i.id, 'bad_amount', '';
        ELSIF i.state IN ('released', 'expired') THEN
            RETURN QUERY SELECT i.id, 'duplicate', i.state;
        ELSIF i.state <> 'failed' AND NOT (i.state = 'reserved' AND fee = 0) THEN
            RETURN QUERY SELECT i.id, 'state', i.state;
        ELSIF fee > held_fee THEN
            RETURN QUERY SELECT i.id, 'too_much', held_fee::text;
        ELSE
            chain := ledger_settle(i, 'amount', 0, moment, i.head);
            chain := ledger_settle(i, 'fee', fee, moment, chain);
            UPDATE intents AS n SET state = 'released', head = chain, moved_by = p_by, why = p_why WHERE n.id = i.id;
            RETURN QUERY SELECT i.id, 'ok', '';
        END IF;
    END LOOP;
END
$$;

-- Ends what has passed its time: at most p_limit intents. One that is signed may be on its way to the chain, and no time
-- that passes gives its money back.
CREATE FUNCTION reap_intents(p_limit integer) RETURNS TABLE (intent uuid, was text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    due uuid[];
    moment timestamptz;
    i intents;
    chain bytea;
BEGIN
    SELECT array_agg(f.id) INTO due FROM (
        SELECT n.id FROM intents AS n
        WHERE n.state IN ('proposed', 'screened', 'escalated', 'approved', 'reserved') AND n.expires_at <= ledger_now()
        ORDER BY n.id LIMIT p_limit FOR UPDATE SKIP LOCKED
    ) AS f;
    moment := ledger_lock(due);
    FOR i IN SELECT * FROM intents AS n WHERE n.id = ANY (due) ORDER BY n.id LOOP
        chain := ledger_settle(i, 'amount', 0, moment, i.head);
        chain := ledger_settle(i, 'fee', 0, moment, chain);
        UPDATE intents AS n SET state = 'expired', head = chain, moved_by = 'chimera:reaper', why = 'expired' WHERE n.id = i.id;
        RETURN QUERY SELECT i.id, i.state;
    END LOOP;
END
$$;

-- Writes down that money of a captured payment came back: at most what was captured and did not come back yet. p_key
-- names the refund. outcome: ok, duplicate, conflict, unknown, state, bad_amount, too_much; detail: what can be refunded.
CREATE FUNCTION refund_intent(p_id uuid, p_leg text, p_amount numeric, p_key text, p_by text, p_why text)
RETURNS TABLE (outcome text, detail text) LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := ledger_lock(ARRAY[p_id]);
    i intents;
    h holds;
    before record;
    chain bytea;
BEGIN
    SELECT * INTO i FROM intents AS n WHERE n.id = p_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'unknown', '';
        RETURN;
    END IF;
    SELECT * INTO h FROM holds WHERE intent = p_id AND leg = p_leg;
    SELECT j.amount, j.leg INTO before FROM journal AS j WHERE j.tenant = i.tenant AND j.key = p_id || '/refund/' || p_key;
    IF before.amount IS NOT NULL THEN
        RETURN QUERY SELECT CASE WHEN (before.amount, before.leg) = (p_amount, p_leg) THEN 'duplicate' ELSE 'conflict' END,
            before.amount::text;
    ELSIF i.state NOT IN ('captured', 'delivered', 'paid_undelivered', 'refunded') OR h.intent IS NULL THEN
        RETURN QUERY SELECT 'state', i.state;
    ELSIF p_amount IS NULL OR NOT (p_amount > 0 AND p_amount < 1e30) OR p_amount <> trunc(p_amount) THEN
        RETURN QUERY SELECT 'bad_amount', '';
    ELSIF p_amount > h.captured - h.refunded THEN
        RETURN QUERY SELECT 'too_much', (h.captured - h.refunded)::text;
    ELSE
        -- It opens the budget again as far as the payment still counts in it.
        UPDATE budgets AS b SET posted = b.posted - p_amount, latest = moment
        WHERE b.id = ANY (h.budgets) AND b.period <> 'rolling' AND h.settled_at >= b.since;
        WITH lessened AS (
            UPDATE budget_spends AS s SET amount = s.amount - p_amount
            WHERE s.intent = p_id AND s.leg = p_leg RETURNING s.budget_id
        ) UPDATE budgets AS b SET posted = b.posted - p_amount, latest = moment FROM lessened AS l WHERE b.id = l.budget_id;
        UPDATE holds AS o SET refunded = o.refunded + p_amount WHERE o.intent = p_id AND o.leg = p_leg;
        chain := ledger_enter(i.tenant, p_id || '/refund/' || p_key, p_id, p_leg, 'refund', 'wallet:' || i.agent,
            'spent:' || CASE WHEN p_leg = 'fee' THEN 'fees' ELSE i.category END, h.asset, p_amount, moment, i.head);
        UPDATE intents AS n SET head = chain,
            state = CASE WHEN p_leg = 'amount' AND h.refunded + p_amount = h.captured THEN 'refunded' ELSE n.state END,
            moved_by = p_by, why = p_why
        WHERE n.id = p_id;
        RETURN QUERY SELECT 'ok', (h.captured - h.refunded - p_amount)::text;
    END IF;
END
$$;

-- Writes down money that came into a wallet. outcome: ok, duplicate, conflict, asset, bad_amount.
CREATE FUNCTION record_deposit(p_tenant text, p_wallet text, p_asset text, p_amount numeric, p_key text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before journal;
BEGIN
    IF p_amount IS NULL OR NOT (p_amount > 0 AND p_amount < 1e60) OR p_amount <> trunc(p_amount) THEN
        RETURN 'bad_amount';
    END IF;
    IF NOT EXISTS (SELECT FROM assets WHERE id = p_asset) THEN
        RETURN 'asset';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('deposit/' || p_tenant || '/' || p_key, 0));
    SELECT * INTO before FROM journal WHERE tenant = p_tenant AND key = 'deposit/' || p_key;
    IF FOUND THEN
        RETURN CASE WHEN (before.debit, before.asset, before.amount) = ('wallet:' || p_wallet, p_asset, p_amount)
            THEN 'duplicate' ELSE 'conflict' END;
    END IF;
    PERFORM ledger_enter(p_tenant, 'deposit/' || p_key, NULL, '', 'deposit', 'wallet:' || p_wallet, 'funding', p_asset, p_amount,
        ledger_now(), '\x0000000000000000000000000000000000000000000000000000000000000000');
    RETURN 'ok';
END
$$;

-- --- seals ---

-- The newest row, once nobody is writing an older one any more.
CREATE FUNCTION ledger_horizon() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    LOCK TABLE journal IN SHARE MODE;
    RETURN (SELECT coalesce(max(seq), 0) FROM journal);
END
$$;

-- Seals a tenant's rows after its last seal, up to a horizon that was asked for in a transaction before; none if there
-- are none.
CREATE FUNCTION seal_journal(p_tenant text, p_upto bigint) RETURNS SETOF journal_seals
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('seal/' || p_tenant, 0));
    RETURN QUERY WITH last AS (
        SELECT coalesce(max(upto), 0) AS upto FROM journal_seals WHERE tenant = p_tenant
    ), found AS (
        SELECT min(j.seq) AS first, max(j.seq) AS upto, count(*) AS entries,
            sha256(string_agg(j.hash, ''::bytea ORDER BY j.seq)) AS digest
        FROM journal AS j, last WHERE j.tenant = p_tenant AND j.seq > last.upto AND j.seq <= p_upto
    )
    INSERT INTO journal_seals (tenant, upto, first, entries, digest, at)
    SELECT p_tenant, f.upto, f.first, f.entries, f.digest, ledger_now() FROM found AS f WHERE f.entries > 0
    RETURNING *;
END
$$;

-- --- who owns it ---

-- A role that cannot log in owns the ledger, where the connected role may make one or is a member of it. It is left with
-- SELECT on the tables and EXECUTE on the functions of payments. It can become the owner only on purpose (SET ROLE),
-- and not at all once an administrator has revoked the membership. set_budget stays with the owner.
DO $$
DECLARE
    me text := current_user;
    owner_name text := 'chimera_ledger';
    schema_name text := current_schema();
    may boolean;
    it record;
BEGIN
    BEGIN
        SELECT rolsuper OR rolcreaterole INTO may FROM pg_roles WHERE rolname = me;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = owner_name) AND NOT pg_has_role(me, owner_name, 'MEMBER') AND may THEN
            owner_name := 'chimera_ledger_' || (SELECT oid FROM pg_database WHERE datname = current_database());
        END IF;
        IF may AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = owner_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', owner_name);
            IF current_setting('server_version_num')::integer >= 160000 THEN
                EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', owner_name, me);
            ELSE
                EXECUTE format('GRANT %I TO %I', owner_name, me);
            END IF;
        END IF;
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', schema_name, owner_name);
        FOR it IN SELECT c.oid, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = schema_name AND c.relname IN ('assets', 'intent_transitions', 'intents', 'intent_moves',
                'holds', 'budgets', 'budget_spends', 'journal', 'journal_seals')
        LOOP
            EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', schema_name, it.relname, owner_name);
        END LOOP;
        FOR it IN SELECT p.oid::regprocedure AS signature, p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = schema_name AND p.proname IN ('ledger_now', 'ledger_digest', 'ledger_micros', 'budget_begin',
                'ledger_refuse_change', 'intents_guard', 'propose_intent', 'move_intent', 'ledger_enter', 'ledger_advance',
                'set_budget', 'budgets_of', 'reserve_intents', 'ledger_settle', 'ledger_lock', 'capture_intents',
                'release_intents', 'reap_intents', 'refund_intent', 'record_deposit', 'ledger_horizon', 'seal_journal')
        LOOP
            EXECUTE format('ALTER FUNCTION %s OWNER TO %I', it.signature, owner_name);
        END LOOP;
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', schema_name, owner_name);
        EXECUTE format('SET LOCAL ROLE %I', owner_name);
        FOR it IN SELECT p.oid::regprocedure AS signature, p.prosecdef FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            JOIN pg_roles AS r ON r.oid = p.proowner WHERE n.nspname = schema_name AND r.rolname = owner_name
        LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', it.signature);
            IF it.prosecdef THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', it.signature, me);
            END IF;
        END LOOP;
        EXECUTE format('GRANT EXECUTE ON FUNCTION ledger_now(), ledger_digest(text[]), ledger_micros(timestamptz), '
            'budget_begin(text, timestamptz) TO %I', me);
        EXECUTE format('GRANT SELECT, REFERENCES ON assets, intent_transitions, intents, intent_moves, holds, budgets, '
            'budget_spends, journal, journal_seals TO %I', me);
        EXECUTE format('SET LOCAL ROLE %I', me);
    EXCEPTION WHEN insufficient_privilege OR undefined_object OR invalid_grant_operation THEN
        RAISE NOTICE 'the ledger belongs to the connected role: %', SQLERRM;
    END;
END
$$;

SELECT set_config('search_path', current_setting('chimera.search_path'), true);
