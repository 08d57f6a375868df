-- System identifier and timeline: the one that is being written, not the one of the last checkpoint. An
-- error where these functions are not there, or not for us. With the number that the table has: a dump does
-- not contain it, so that one which is restored on the same server becomes another store.
SELECT (SELECT c.system_identifier FROM pg_control_system() c)::text
    || '.' || (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())::text || '.' || COALESCE(to_regclass('store_identity')::oid::text, '') || '/'
    || ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer::text
