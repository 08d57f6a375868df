UPDATE instances SET spool_depth = ?2, spool_oldest = ?3 WHERE instance = ?1
