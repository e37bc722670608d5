-- Who logs in by a provider of OpenID Connect: what the provider calls somebody, and who that is here.
-- A name that the provider gives to somebody else later opens no door: the subject is what counts from the first login on.
CREATE TABLE account_identities (
    issuer   text NOT NULL,
    subject  text NOT NULL,
    tenant   text NOT NULL,
    name     text NOT NULL,
    bound_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (tenant, name, issuer),
    FOREIGN KEY (tenant, name) REFERENCES principals (tenant, name)
);
