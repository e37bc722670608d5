"""The system of record: Postgres for what must last, Redis for what may be lost, and the embedded servers of both."""
