UPDATE walks SET xid = $1::text::xid8 WHERE name = 'changes'
