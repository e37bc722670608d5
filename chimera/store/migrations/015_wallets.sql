-- Wallets on chains: which nonce goes to which payment, and every transaction that was signed for it, as it was signed.
-- A transaction is here, committed, before anybody outside hears of it; what is sent again is what is here.

SELECT set_config('chimera.search_path', current_setting('search_path'), true),
       set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- next_nonce: the first one that no payment has. quarantined_at: since when it does not pay, until a human has looked.
CREATE TABLE wallets (
    chain_id       bigint NOT NULL CHECK (chain_id > 0),
    address        text NOT NULL CHECK (address ~ '^0x[0-9a-fA-F]{40}$'),
    tenant         text NOT NULL,
    agent          text NOT NULL,
    next_nonce     bigint NOT NULL CHECK (next_nonce >= 0),
    quarantined_at timestamptz,
    why            text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, address),
    UNIQUE (chain_id, tenant, agent)
) WITH (fillfactor = 50);

-- One payment has one nonce, and one nonce one payment, for good.
CREATE TABLE wallet_nonces (
    intent   uuid PRIMARY KEY REFERENCES intents (id),
    chain_id bigint NOT NULL,
    address  text NOT NULL,
    nonce    bigint NOT NULL CHECK (nonce >= 0),
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (chain_id, address, nonce),
    FOREIGN KEY (chain_id, address) REFERENCES wallets (chain_id, address)
);

-- place: 0, and one more for each that replaces the one before with higher fees. sent_at: when it was sent last; said: what
-- the endpoints said. block, fee: of the one that was mined, once that is final.
CREATE TABLE chain_transactions (
    hash      text PRIMARY KEY CHECK (hash ~ '^0x[0-9a-f]{64}$'),
    intent    uuid NOT NULL REFERENCES wallet_nonces (intent),
    place     integer NOT NULL CHECK (place >= 0),
    raw       bytea NOT NULL,
    gas_limit bigint NOT NULL,
    max_fee   numeric(78, 0) NOT NULL,
    priority  numeric(78, 0) NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at   timestamptz,
    sends     integer NOT NULL DEFAULT 0,
    said      text NOT NULL DEFAULT '',
    block     bigint,
    fee       numeric(78, 0),
    UNIQUE (intent, place),
    CHECK ((block IS NULL) = (fee IS NULL))
);

CREATE FUNCTION wallets_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION '% is kept', TG_TABLE_NAME;
    ELSIF TG_TABLE_NAME = 'wallet_nonces' THEN
        RAISE EXCEPTION 'a payment keeps its nonce';
    ELSIF TG_TABLE_NAME = 'wallets' THEN
        IF (NEW.chain_id, NEW.address, NEW.tenant, NEW.agent) IS DISTINCT FROM (OLD.chain_id, OLD.address, OLD.tenant, OLD.agent)
            OR NEW.next_nonce < OLD.next_nonce THEN
            RAISE EXCEPTION 'a wallet keeps its owner, and no nonce is given out twice';
        END IF;
    ELSIF (NEW.hash, NEW.intent, NEW.place, NEW.raw, NEW.gas_limit, NEW.max_fee, NEW.priority, NEW.signed_at)
        IS DISTINCT FROM (OLD.hash, OLD.intent, OLD.place, OLD.raw, OLD.gas_limit, OLD.max_fee, OLD.priority, OLD.signed_at)
        OR (OLD.block IS NOT NULL AND (NEW.block, NEW.fee) IS DISTINCT FROM (OLD.block, OLD.fee)) THEN
        RAISE EXCEPTION 'a transaction that was signed never changes';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER wallets_kept BEFORE UPDATE OR DELETE ON wallets FOR EACH ROW EXECUTE FUNCTION wallets_guard();
CREATE TRIGGER wallet_nonces_kept BEFORE UPDATE OR DELETE ON wallet_nonces FOR EACH ROW EXECUTE FUNCTION wallets_guard();
CREATE TRIGGER chain_transactions_kept BEFORE UPDATE OR DELETE ON chain_transactions
    FOR EACH ROW EXECUTE FUNCTION wallets_guard();
CREATE TRIGGER wallets_there BEFORE TRUNCATE ON wallets FOR EACH STATEMENT EXECUTE FUNCTION wallets_guard();
CREATE TRIGGER wallet_nonces_there BEFORE TRUNCATE ON wallet_nonces FOR EACH STATEMENT EXECUTE FUNCTION wallets_guard();
CREATE TRIGGER chain_transactions_there BEFORE TRUNCATE ON chain_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION wallets_guard();

-- Locks payments until the end of the transaction in which they are signed, in the order of all locks of the ledger.
CREATE FUNCTION lock_intents(p_ids uuid[]) RETURNS SETOF intents
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
    PERFORM FROM intents AS n WHERE n.id = ANY (p_ids) ORDER BY n.id FOR UPDATE;
    RETURN QUERY SELECT n.* FROM intents AS n WHERE n.id = ANY (p_ids) ORDER BY n.id;
END
$$;

-- It is the owner of the ledger who may lock them.
DO $$
DECLARE
    me text := current_user;
    owner_name text := (SELECT r.rolname FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
        WHERE c.oid = to_regclass('intents'));
    schema_name text := current_schema();
BEGIN
    IF owner_name <> me THEN
        EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', schema_name, owner_name);
        EXECUTE format('ALTER FUNCTION lock_intents(uuid[]) OWNER TO %I', owner_name);
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', schema_name, owner_name);
        EXECUTE format('SET LOCAL ROLE %I', owner_name);
        EXECUTE 'REVOKE ALL ON FUNCTION lock_intents(uuid[]) FROM PUBLIC';
        EXECUTE format('GRANT EXECUTE ON FUNCTION lock_intents(uuid[]) TO %I', me);
        EXECUTE format('SET LOCAL ROLE %I', me);
    END IF;
END
$$;

SELECT set_config('search_path', current_setting('chimera.search_path'), true);
