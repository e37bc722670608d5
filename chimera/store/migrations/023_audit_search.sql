-- People look for events of one kind: the newest of them are found without walking past all others.
CREATE INDEX audit_events_by_kind ON audit_events (tenant, kind, seq);
