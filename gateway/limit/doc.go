// Package limit keeps each caller within its share of a gateway, so that none of them takes all of it.
//
// A limit refuses new attempts, before anything is claimed, and nothing else: what is settled is answered
// whatever the limits say, and who waits for an attempt that runs is no attempt.
//
// Counts are this gateway's own, except for what a caller has in doubt, which is the store's: doubts outlive
// the process that had them. Memory is bounded by the callers that were here within the last seconds; of
// all others there is nothing to know.
package limit
