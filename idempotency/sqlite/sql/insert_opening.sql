INSERT INTO openings (history, after) VALUES (?1, (SELECT ifnull(max(number), 0) FROM changes))
