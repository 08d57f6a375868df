-- The feed: what changed, in the order of commits. There is one writer, so a counter of commits is that order,
-- and all that is committed can be read.

-- The commit in which a record changed last, 0 for those that are older than the feed; and the states that it
-- was in before, bit 1 << state.
ALTER TABLE requests ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN been INTEGER NOT NULL DEFAULT 0;

-- The way to one caller's records. It is written once for each.
CREATE INDEX requests_caller ON requests (caller);

-- One row for each commit that changed something.
CREATE TABLE changes (
  number  INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  -- of each record its id, and 8 bytes of the SHA-256 of its caller, to pass over those that nobody asks for
  entries BLOB    NOT NULL CHECK (length(entries) > 0 AND length(entries) % 24 = 0)
) STRICT;

-- What cursors are signed with, from the first opening on; and the last record that may be older than the feed.
CREATE TABLE feed (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  secret BLOB    CHECK (length(secret) >= 32),
  before INTEGER NOT NULL
) STRICT;
INSERT INTO feed (one, before) SELECT 1, ifnull(max(seq), 0) FROM requests;

-- Each time that the file was opened, and after which commit. A copy of the file that is put back knows
-- nothing of what came after it was made, and tells by this that a cursor is from then.
CREATE TABLE openings (
  seq     INTEGER PRIMARY KEY,
  history BLOB    NOT NULL UNIQUE CHECK (length(history) = 16),
  after   INTEGER NOT NULL
) STRICT;
