package sqlite

import "context"

// Identity names the store: by the path of its file, which is all that tells one from another.
func (s *Store) Identity(context.Context) (string, error) { return "sqlite:" + s.path, nil }
