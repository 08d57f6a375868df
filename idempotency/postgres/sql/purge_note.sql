-- When the youngest of all records was claimed that were removed. However long records are kept by now, and by whom, a
-- key that is older may have been executed. (The table is of what the walks of all gateways share.)
INSERT INTO walks AS w (name, claimed_at)
VALUES ('purged', $1::timestamptz)
ON CONFLICT (name) DO UPDATE SET claimed_at = GREATEST(w.claimed_at, excluded.claimed_at)
