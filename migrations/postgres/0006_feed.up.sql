-- The feed: what changed, in the order in which everybody can read it.
--
-- A sequence or an instant would not do as that order: a transaction that took a lower one can commit after a
-- reader has gone past it. Readers go by the number of the writing transaction, and only up to the oldest
-- that is still under way (docs/guarantee.md, I7).

-- When a record changed last; '0' of those that are older than the feed. It is in no index, so that updates
-- stay heap-only. Together with been it says whether a reader has to hear of the record.
ALTER TABLE requests
    ADD COLUMN changed xid8 NOT NULL DEFAULT '0',
    ADD COLUMN been smallint NOT NULL DEFAULT 0;   -- the states that it was in before: bit 1 << state

-- The way to one caller's records. These columns change with a new attempt, and not when it ends.
CREATE INDEX requests_caller ON requests (caller, claimed_at);

-- One row for each transaction, not for each change: what a batch writes costs one line here.
CREATE TABLE changes (
    xid     xid8        NOT NULL,
    at      timestamptz NOT NULL,
    ids     uuid[]      NOT NULL,
    callers bigint[]    NOT NULL,   -- hashtextextended(caller, 0), to pass over those that nobody asks for
    CONSTRAINT each_has_a_caller CHECK (cardinality(ids) = cardinality(callers) AND cardinality(ids) > 0)
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_insert_scale_factor = 0.05);

ALTER TABLE changes ALTER COLUMN ids SET STORAGE EXTERNAL, ALTER COLUMN callers SET STORAGE EXTERNAL;

CREATE INDEX changes_xid ON changes (xid);

-- What all gateways on this store sign cursors with, and since when there is a feed: of what was claimed
-- before, changes may be missing above.
CREATE TABLE feed (
    one    boolean     PRIMARY KEY DEFAULT true CHECK (one),
    secret bytea       NOT NULL CHECK (octet_length(secret) >= 32),
    since  timestamptz NOT NULL
);

-- Each of these ids has 122 bits of the server's strong random numbers.
INSERT INTO feed (secret, since) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), now());

-- How far the walk has come that removes what no reader needs any more.
ALTER TABLE walks ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
INSERT INTO walks (name) VALUES ('changes');
