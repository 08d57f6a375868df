-- At most ?3 commits that are not the last one, whose number must not be given again.
SELECT number, entries
  FROM changes
 WHERE number > ?1 AND at < ?2 AND number < (SELECT max(number) FROM changes)
 ORDER BY number
 LIMIT ?3
