-- For this transaction: how long to wait for a lock, and a commit that survives a crash even where the
-- database's default is faster.
SELECT set_config('lock_timeout', $1, true), set_config('synchronous_commit',
    CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, true)
