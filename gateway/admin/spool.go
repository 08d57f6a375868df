package admin

import "time"

// Spool is what /readyz?verbose says of the gateway's spool. It never makes a gateway unready: without
// a spool it would do as well.
type Spool struct {
	Depth   int        `json:"depth"`   // outcomes that the store does not have yet
	Bytes   int64      `json:"bytes"`   // of the disk
	Limit   int64      `json:"limit"`   // of bytes
	Oldest  *time.Time `json:"oldest"`  // outcome, RFC 3339 in UTC; null if there is none
	Damaged int        `json:"damaged"` // entries that were put aside
}
