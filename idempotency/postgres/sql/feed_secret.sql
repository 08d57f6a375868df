SELECT f.secret FROM feed f WHERE f.one
