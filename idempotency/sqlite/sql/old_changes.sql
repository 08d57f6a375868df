-- At most ?2 commits that are not the last one, whose number must not be given again.
SELECT number, at, entries
  FROM changes
 WHERE number > ?1 AND number < (SELECT max(number) FROM changes)
 ORDER BY number
 LIMIT ?2
