-- Permissions that somebody has for a time: exactly this action with exactly this resource, until then.

CREATE TABLE grants (
    id            uuid PRIMARY KEY,
    tenant        text NOT NULL,
    principal     text NOT NULL,
    action        text NOT NULL,
    resource_type text NOT NULL,
    resource_id   text NOT NULL,
    reason        text NOT NULL,
    granted_by    text NOT NULL,
    granted_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    revoked_by    text,
    CHECK (expires_at > granted_at)
);
CREATE INDEX grants_of_principal ON grants (tenant, principal, action, resource_type, resource_id, expires_at DESC);
