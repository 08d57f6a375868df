-- So many back no cursor is from.
DELETE FROM openings WHERE seq <= (SELECT max(seq) FROM openings) - 10000
