-- What a session has to have from its beginning, added to settings_without_joins.sql: a transaction's isolation cannot
-- be set by its first query any more. Behind a pooler these have to be the defaults (see session_defaults.sql).
set_config('default_transaction_isolation', 'read committed', false),
set_config('datestyle', 'ISO, MDY', false),
set_config('bytea_output', 'hex', false)
