-- One row per lease that a gateway process has or had, on the database's clock.
CREATE TABLE instances (
    id          uuid        NOT NULL,
    epoch       bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    longest     interval    NOT NULL,                   -- budget of an attempt: bounds where a sweep looks
    host        text        NOT NULL,
    version     text        NOT NULL,
    swept       boolean     NOT NULL DEFAULT false,     -- what it left executing is stored as unknown
    PRIMARY KEY (id, epoch),
    CONSTRAINT epoch_counts CHECK (epoch >= 1)
) WITH (fillfactor = 50);

CREATE INDEX instances_to_sweep ON instances (id, epoch) WHERE NOT swept;

-- How far the walks along requests.claimed_at have come, shared by all gateways.
CREATE TABLE walks (
    name       text        PRIMARY KEY,
    claimed_at timestamptz NOT NULL DEFAULT '-infinity'
);

INSERT INTO walks (name) VALUES ('overdue'), ('purge');
