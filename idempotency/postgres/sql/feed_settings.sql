-- Plans are made anew each time, and made for ranges of an index, or for single rows.
SELECT set_config('lock_timeout', '250ms', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)
