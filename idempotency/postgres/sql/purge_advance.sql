UPDATE walks SET claimed_at = $1::timestamptz WHERE name = 'purge'
