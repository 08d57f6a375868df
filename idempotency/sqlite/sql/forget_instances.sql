-- Of processes that have ended, and hold nothing or are long gone.
DELETE FROM instances WHERE instance <> ?1 AND (spool_depth IS NULL OR acquired < ?2)
