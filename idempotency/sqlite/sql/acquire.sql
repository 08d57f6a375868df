INSERT INTO holder (one, epoch, instance, host, version, acquired)
VALUES (1, 1, ?1, ?2, ?3, ?4)
ON CONFLICT (one) DO UPDATE
   SET epoch = epoch + 1, instance = excluded.instance, host = excluded.host,
       version = excluded.version, acquired = excluded.acquired
RETURNING epoch
