package main

// storeChanged hears that the store leads to another server, before anything is written there.
func (s *server) storeChanged(former, now string) {
	text := "the store is another server now: keys older than this moment that have no record become unknown (docs/operations.md, Failover)"
	if former == now {
		text = "the store became another server a moment ago: keys without a date wait until all gateways had time to bring back what it lacks"
	}
	s.log.Warn(text, "former", former, "now", now)
	s.changed.Store(true)
	if engine := s.recovers.Load(); engine != nil {
		engine.StoreChanged()
	}
}

// distrust passes on a change that was noticed before there was an engine.
func (s *server) distrust() {
	s.recovers.Store(s.engine)
	if s.changed.Load() {
		s.engine.StoreChanged()
	}
}
