-- For this transaction only, so that a pooler in transaction mode may stand in between.
--
-- Plans are made once per connection, perhaps on an empty table, and then kept while it grows. Each
-- statement here finds its rows by id; without the alternatives no statistics can talk it out of that.
-- (The penalty for an alternative would pass for a costly plan and start the JIT.)
--
-- synchronous_commit is raised where somebody switched it off, and otherwise left alone.
SELECT set_config('lock_timeout', '250ms', true),
    set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true),
    set_config('enable_nestloop', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
