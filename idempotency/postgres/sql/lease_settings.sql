-- A lease need not survive a crash or a failover: one that is lost only lapses sooner. So its renewal
-- waits neither for a disk nor for a standby, and others see it at once. (A commit that became visible
-- late could revive a lease that others have seen lapse.) Whatever is claimed under it is flushed and
-- replicated after it.
SELECT set_config('synchronous_commit', 'off', true)
