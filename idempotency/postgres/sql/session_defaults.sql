-- The server's process, and what of its session would not do, as it stands.
--
-- The driver reads instants and bytes in one spelling each, where they travel as text.
SELECT pg_backend_pid(), COALESCE((
    SELECT string_agg(s.name || ' = ' || s.value, ', ' ORDER BY s.name)
    FROM (VALUES
        ('default_transaction_isolation', current_setting('default_transaction_isolation'), '^read '),
        ('datestyle', current_setting('datestyle'), '^ISO'),
        ('bytea_output', current_setting('bytea_output'), '^hex')
    ) AS s (name, value, needed)
    WHERE s.value !~ s.needed
), '')
