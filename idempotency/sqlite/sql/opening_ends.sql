-- The last commit of an opening; NULL if it is the present one.
SELECT (SELECT min(n.after) FROM openings n WHERE n.seq > o.seq) FROM openings o WHERE o.history = ?1
