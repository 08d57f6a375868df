package main

// storeChanged hears that the store leads to another server, before anything is written there.
func (s *server) storeChanged(former, now string) {
	s.log.Warn("the store is another server now: keys older than this moment that have no record become unknown (docs/operations.md, Failover)",
		"former", former, "now", now)
	if engine := s.recovers.Load(); engine != nil {
		engine.StoreChanged()
	}
}
