-- As settings.sql, for statements without joins, or with none that could be made in another way. On a
-- connection with a session of its own they are made once (see session.go).
SELECT set_config('lock_timeout', '250ms', true),
    set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('jit', 'off', true),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
