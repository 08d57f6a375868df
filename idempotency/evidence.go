package idempotency

import "time"

// EvidenceKind is a closed set of words.
type EvidenceKind string

const (
	EvidenceLateAnswer    EvidenceKind = "late-answer"   // the owner's own answer settled a record in doubt
	EvidenceLateRelease   EvidenceKind = "late-release"  // the owner's own proof did
	EvidenceResolution    EvidenceKind = "resolution"    // a probe or an operator did
	EvidenceImport        EvidenceKind = "import"        // a record that the store had lost was brought back
	EvidenceAbsence       EvidenceKind = "absence"       // a probe did not find it, which proves nothing
	EvidenceContradiction EvidenceKind = "contradiction" // an answer that no move accepts
)

// Evidence is kept beside a record, insert-only, one of a kind per attempt.
type Evidence struct {
	Operation OperationID
	Attempt   AttemptID
	N         int
	Kind      EvidenceKind
	By        string // ByGateway, ByProbe, or of ByOperator
	Text      string
	Response  *Response // the contradicting answer
	At        time.Time
}
