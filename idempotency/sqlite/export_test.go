package sqlite

// Statements are those of the store, as it was built with them.
var Statements = statements

// TakeAskers takes every connection of those who ask, as a storm does, until back is called.
func (s *Store) TakeAskers() (back func()) { return drain(s.askers) }

// TakeReaders takes every connection of the other readers.
func (s *Store) TakeReaders() (back func()) { return drain(s.readers) }

func drain(conns chan *conn) (back func()) {
	var taken []*conn
	for range cap(conns) {
		taken = append(taken, <-conns)
	}
	return func() {
		for _, c := range taken {
			conns <- c
		}
	}
}

// LoseWriter leaves the store as a commit does that failed.
func (s *Store) LoseWriter() error {
	c := <-s.writer
	s.writer <- nil
	if c == nil {
		return nil
	}
	return c.Close()
}
