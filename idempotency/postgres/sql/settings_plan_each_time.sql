-- For the rest of the transaction: a plan that knows its parameters locks only the partitions that it needs.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)
