-- How young the youngest was of the records that have been removed because they had expired: when it was claimed last, or
-- first seen. A key that is older may have been executed, however long records are kept from now on.
CREATE TABLE purged (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  last INTEGER NOT NULL
) STRICT;
