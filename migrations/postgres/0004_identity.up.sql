-- Which server this is, and since when. A promoted standby or a restored copy may lack what the server
-- before it had committed: from then on the absence of a record proves nothing about a key that is older.
CREATE TABLE store_identity (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    identity   text        NOT NULL,       -- system identifier and timeline
    changed_at timestamptz NOT NULL        -- when gateways noticed that it had become another one; -infinity: never
);
