package admin

import "encoding/json"

// FieldValues are the values of a header field: in JSON a string, or a list of them.
type FieldValues []string

// UnmarshalJSON takes one value as a list of one.
func (v *FieldValues) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*v = FieldValues{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(v))
}
