package idempotency

import "strings"

const operatorPrefix = "operator:"

// ByOperator returns what a resolution by the operator of that name is signed with. No operator's name
// can be taken for a probe.
func ByOperator(name string) string { return operatorPrefix + name }

// Operator returns the name in a signature of [ByOperator]; false if it is somebody else's.
func Operator(by string) (name string, ok bool) { return strings.CutPrefix(by, operatorPrefix) }
