-- Bodies, insert-only, partitioned by the UTC day on which they expire: dropping a partition whose
-- day is past removes exactly what has expired, whatever the retention is. The key begins with id, so
-- that a search without the day is still a search.
CREATE TABLE payloads (
    day        date  NOT NULL,
    id         uuid  NOT NULL,
    attempt_id uuid  NOT NULL,
    fields     bytea NOT NULL,
    body       bytea NOT NULL,
    seal       bytea NOT NULL,
    PRIMARY KEY (id, day),
    CONSTRAINT seal_has_32_bytes CHECK (octet_length(seal) = 32)
) PARTITION BY RANGE (day);

-- Out of line without compression: most bodies are small or compressed already.
ALTER TABLE payloads ALTER COLUMN body SET STORAGE EXTERNAL;

-- Takes what no partition has been made for: a missing one must not fail an insert.
CREATE TABLE payloads_default PARTITION OF payloads DEFAULT;
CREATE INDEX payloads_default_day ON payloads_default (day);

-- The first days; the gateway's purge makes the coming ones.
DO $$
DECLARE
    d date;
BEGIN
    FOR i IN 0..14 LOOP
        d := (now() AT TIME ZONE 'UTC')::date + i;
        EXECUTE format('CREATE TABLE %I PARTITION OF payloads FOR VALUES FROM (%L) TO (%L)',
            'payloads_' || to_char(d, 'YYYYMMDD'), d, d + 1);
    END LOOP;
END
$$;
