-- Rows of which no record changed last there: it has changed since, or is gone. No reader needs them.
DELETE FROM changes c
WHERE c.xid > $1::text::xid8 AND c.xid <= $2::text::xid8
    AND c.at < now() - $3::bigint * interval '1 microsecond'
    AND NOT EXISTS (SELECT FROM requests r WHERE r.id = ANY(c.ids) AND r.changed = c.xid)
