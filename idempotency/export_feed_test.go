package idempotency

// KeepChanges bounds how many changes a feed keeps for those who follow.
func (f *Feed) KeepChanges(most int) { f.hub.most = most }
