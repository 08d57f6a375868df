DO $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'payloads'::regclass AND inhrelid <> 'payloads_default'::regclass LOOP
        EXECUTE format('ALTER TABLE %s RESET (autovacuum_vacuum_insert_threshold, toast.autovacuum_vacuum_insert_threshold, autovacuum_analyze_threshold)', p);
    END LOOP;
END
$$;

ALTER TABLE changes RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor, autovacuum_freeze_min_age);
ALTER TABLE changes SET (autovacuum_vacuum_insert_scale_factor = 0.05);

ALTER TABLE requests RESET (autovacuum_freeze_min_age);
ALTER TABLE requests SET (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
