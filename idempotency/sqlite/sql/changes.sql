-- At most ?3 commits.
SELECT number, entries FROM changes WHERE number >= ?1 AND number <= ?2 ORDER BY number LIMIT ?3
