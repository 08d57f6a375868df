package config

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the file. It describes keys, types, values and
// defaults, for editors; what holds between settings, only Load checks.
func Schema() []byte { return slices.Clone(schema) }
