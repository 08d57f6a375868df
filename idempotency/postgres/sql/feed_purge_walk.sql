SELECT w.xid::text FROM walks w WHERE w.name = 'changes' FOR UPDATE SKIP LOCKED
