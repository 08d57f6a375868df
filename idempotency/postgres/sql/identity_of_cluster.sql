SELECT (SELECT c.system_identifier FROM pg_control_system() c)::text || '/' || current_database()::text || '/' || current_schema()::text
