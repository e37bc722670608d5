-- Decisions about payments: who can be paid, what was found about each payment, which people agreed to it, and what the CFO
-- signed. All of it refers to an intent by its id and its digest, and none of it is ever changed, but for the one use of a
-- signature.

-- owner: who is behind it, so that several names and addresses of one payee count together. chain_id: 0 outside of chains.
CREATE TABLE payees (
    tenant     text NOT NULL,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 120 AND name = lower(name)),
    chain_id   bigint NOT NULL CHECK (chain_id >= 0),
    address    text NOT NULL CHECK (length(address) BETWEEN 1 AND 300),
    owner      text NOT NULL CHECK (length(owner) BETWEEN 1 AND 120),
    added_by   text NOT NULL,
    added_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_by text,
    removed_at timestamptz,
    PRIMARY KEY (tenant, name, chain_id),
    CHECK ((removed_by IS NULL) = (removed_at IS NULL))
);
CREATE INDEX payees_by_address ON payees (tenant, chain_id, lower(address));
-- How an address of a chain begins and ends, which is all that people compare.
CREATE INDEX payees_by_look ON payees (tenant, chain_id, (substr(lower(address), 3, 2) || right(lower(address), 2)));

-- step: claim (what whoever asks says that it brings), screen (rules and lists), risk (what else was paid, and a score), cfo (the verdict).
CREATE TABLE payment_findings (
    intent uuid NOT NULL REFERENCES intents (id),
    step   text NOT NULL CHECK (step IN ('claim', 'screen', 'risk', 'cfo')),
    digest bytea NOT NULL,
    data   jsonb NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (intent, step)
);

-- One human agrees to one payment once.
CREATE TABLE payment_approvals (
    intent     uuid NOT NULL REFERENCES intents (id),
    approver   text NOT NULL CHECK (approver <> ''),
    digest     bytea NOT NULL,
    review_id  uuid NOT NULL UNIQUE,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (intent, approver)
);

-- The signature of the CFO's key over the payment. used_by: what it was used for, once.
CREATE TABLE payment_signatures (
    intent     uuid PRIMARY KEY REFERENCES intents (id),
    digest     bytea NOT NULL,
    signer     text NOT NULL,
    signature  bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    signed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_by    text,
    used_at    timestamptz,
    CHECK ((used_by IS NULL) = (used_at IS NULL))
);

CREATE FUNCTION payments_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER payment_findings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_findings
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
CREATE TRIGGER payment_approvals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_approvals
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
CREATE TRIGGER payment_signatures_stay BEFORE DELETE OR TRUNCATE ON payment_signatures
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
CREATE TRIGGER payees_stay BEFORE DELETE OR TRUNCATE ON payees
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();

-- A payee keeps its address: another address is another payee, or this one after it was removed. A signature changes by
-- being used, once.
CREATE FUNCTION payees_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.removed_at IS NULL AND (NEW.address, NEW.owner, NEW.added_by, NEW.added_at)
        IS DISTINCT FROM (OLD.address, OLD.owner, OLD.added_by, OLD.added_at) THEN
        RAISE EXCEPTION 'a payee keeps its address until it is removed';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER payees_keep BEFORE UPDATE ON payees FOR EACH ROW EXECUTE FUNCTION payees_guard();

CREATE FUNCTION payment_signatures_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.intent, NEW.digest, NEW.signer, NEW.signature, NEW.expires_at, NEW.signed_at)
        IS DISTINCT FROM (OLD.intent, OLD.digest, OLD.signer, OLD.signature, OLD.expires_at, OLD.signed_at)
        OR (OLD.used_at IS NOT NULL AND NEW IS DISTINCT FROM OLD) THEN
        RAISE EXCEPTION 'a signature is used once, and changes in nothing else';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER payment_signatures_keep BEFORE UPDATE ON payment_signatures
    FOR EACH ROW EXECUTE FUNCTION payment_signatures_guard();

-- Who can be paid is said by people, as budgets are: the table belongs to the owner of the ledger where there is one.
DO $$
DECLARE
    me text := current_user;
    schema_name text := current_schema();
    owner_name text;
BEGIN
    SELECT r.rolname INTO owner_name FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
    WHERE c.oid = to_regclass('journal');
    IF owner_name IS NULL OR owner_name = me THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', schema_name, owner_name);
        EXECUTE format('ALTER TABLE %I.payees OWNER TO %I', schema_name, owner_name);
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', schema_name, owner_name);
        EXECUTE format('SET LOCAL ROLE %I', owner_name);
        EXECUTE format('GRANT SELECT ON payees TO %I', me);
        EXECUTE format('SET LOCAL ROLE %I', me);
    EXCEPTION WHEN insufficient_privilege OR undefined_object OR invalid_grant_operation THEN
        RAISE NOTICE 'the payees belong to the connected role: %', SQLERRM;
    END;
END
$$;
