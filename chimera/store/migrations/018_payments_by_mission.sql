-- The payments of a mission: asked for with each result.
DO $$
DECLARE
    me text := current_user;
    owner_name text := (SELECT r.rolname FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
        WHERE c.oid = to_regclass('intents'));
    schema_name text := current_schema();
BEGIN
    IF owner_name = me THEN
        CREATE INDEX intents_by_mission ON intents (mission);
    ELSE
        EXECUTE format('GRANT CREATE ON SCHEMA %I TO %I', schema_name, owner_name);
        EXECUTE format('SET LOCAL ROLE %I', owner_name);
        CREATE INDEX intents_by_mission ON intents (mission);
        EXECUTE format('SET LOCAL ROLE %I', me);
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', schema_name, owner_name);
    END IF;
END
$$;
