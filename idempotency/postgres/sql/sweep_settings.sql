-- Plans are made anew each time: these statements look at ranges, and run seldom.
SELECT set_config('lock_timeout', '250ms', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
    set_config('synchronous_commit', 'off', true)
