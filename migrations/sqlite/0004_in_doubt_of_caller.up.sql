-- What a caller has in doubt is counted when its limit is asked about. Only records in doubt are in it.
CREATE INDEX requests_in_doubt_of_caller ON requests (caller) WHERE state = 4;
