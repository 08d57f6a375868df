-- What a caller has in doubt is counted when its limit is asked about. Only records in doubt are in it, so it
-- stays untouched on the normal path.
CREATE INDEX requests_in_doubt_of_caller ON requests (caller) WHERE unknown_since IS NOT NULL;
