-- What a backend knows of the operations that reached it. Both tables belong to the database of the
-- effects: a row here and an effect there are committed together, or neither is.
CREATE TABLE IF NOT EXISTS onceway_operations (
    operation  uuid PRIMARY KEY,                 -- Onceway-Operation
    executed   integer,                          -- the attempt whose effect is committed; NULL: none is
    fenced     integer NOT NULL DEFAULT 0,       -- attempts up to this one are refused; 2147483647: all
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT what_is_fenced_is_not_executed CHECK (fenced >= 0 AND executed > fenced)
);

-- Answers are apart because they are kept for a shorter time, and so that nothing is ever updated in
-- the usual case.
CREATE TABLE IF NOT EXISTS onceway_responses (
    operation   uuid PRIMARY KEY,
    status      smallint NOT NULL CHECK (status BETWEEN 200 AND 599),
    headers     jsonb NOT NULL,                  -- {"Content-Type": ["application/json"]}
    body        bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- For Purge.
CREATE INDEX IF NOT EXISTS onceway_operations_changed_at ON onceway_operations (changed_at);
CREATE INDEX IF NOT EXISTS onceway_responses_recorded_at ON onceway_responses (recorded_at);
