-- How autovacuum follows retention. At ten million records a vacuum of requests reads all of their indexes, and logs
-- nearly each page of the one by id as a whole: 300 MB, however few records are gone. So it waits until a tenth is.
-- Its first visit freezes: a settled record hardly changes any more, and a later vacuum against wraparound then
-- passes it over. What plans need of statistics hardly changes either.
ALTER TABLE requests SET (
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.5,
    autovacuum_freeze_min_age = 0
);

ALTER TABLE changes SET (
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.5,
    autovacuum_freeze_min_age = 0
);

-- Bodies are inserted, and dropped by the day. A vacuum for what was inserted, and statistics that no plan needs,
-- would be paid several times a day for nothing. What acknowledgements delete is still vacuumed.
DO $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'payloads'::regclass AND inhrelid <> 'payloads_default'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647)', p);
    END LOOP;
END
$$;
