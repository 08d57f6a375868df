-- System identifier and timeline: the one that is being written, not the one of the last checkpoint. An
-- error where these functions are not there, or not for us.
SELECT (SELECT c.system_identifier FROM pg_control_system() c)::text || '/'
    || ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer::text
