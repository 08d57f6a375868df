-- When a backend is to be asked about a record in doubt.

-- Not before this instant; NULL, or earlier than unknown_since: as soon as it is in doubt. Only probes
-- write it, and a claim takes it back.
ALTER TABLE requests ADD COLUMN probe_due timestamptz;

-- What is due of a route. Only records in doubt are in it, so it stays untouched on the normal path.
CREATE INDEX requests_probe_due ON requests (route, GREATEST(unknown_since, probe_due)) WHERE unknown_since IS NOT NULL;

ALTER TABLE evidence
    DROP CONSTRAINT kind_is_known,
    ADD CONSTRAINT kind_is_known CHECK (kind IN ('late-answer', 'late-release', 'resolution', 'import', 'absence', 'contradiction'));
