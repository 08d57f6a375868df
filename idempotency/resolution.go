package idempotency

import "strings"

const operatorPrefix = "operator:"

// ByOperator returns what a resolution by the operator of that name is signed with.
func ByOperator(name string) string { return operatorPrefix + name }

// Operator returns the name of the operator who resolved; false if it was somebody else.
func (r *Resolution) Operator() (name string, ok bool) {
	return strings.CutPrefix(r.By, operatorPrefix)
}
