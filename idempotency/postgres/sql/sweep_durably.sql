-- A reader of the feed can see what a sweep has written, and a crash must not take back what has been read.
SELECT set_config('synchronous_commit', CASE s.reset_val WHEN 'off' THEN 'on' ELSE s.reset_val END, true)
FROM pg_settings s
WHERE s.name = 'synchronous_commit'
