-- Plans are made anew each time: these statements look at ranges, and run seldom.
--
-- They take several round trips. The caller bounds them by its own clock, which does not run while its process is
-- paused: then the server ends the session, so that nobody waits for what it has locked.
SELECT set_config('lock_timeout', '250ms', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
    set_config('synchronous_commit', 'off', true),
    set_config('idle_in_transaction_session_timeout', $1::text, true)
