package idempotency

import (
	"strings"
	"time"
)

// Resolution says who or what settled a record in doubt from outside, and on which evidence.
type Resolution struct {
	By       string // ByProbe, or of ByOperator
	Evidence string
	At       time.Time
}

// Who stands for a resolution or a piece of evidence, unless it is an operator: see [ByOperator]. Stores keep them.
const (
	ByGateway = "gateway"
	ByProbe   = "probe"

	operatorPrefix = "operator:"
)

// ByOperator returns what a resolution by the operator of that name is signed with. No operator's name
// can be taken for a probe.
func ByOperator(name string) string { return operatorPrefix + name }

// Operator returns the name in a signature of [ByOperator]; false if it is somebody else's.
func Operator(by string) (name string, ok bool) { return strings.CutPrefix(by, operatorPrefix) }

// Resolve settles a record in doubt from outside, durably; see [Resolve]. The result is Applied if the
// record is what t says, and t (or its like) made it so. The errors are those of [Committer.Submit].
func (e *Engine) Resolve(t Resolve) (Result, error) {
	return e.committer.Submit(t, nil)
}
