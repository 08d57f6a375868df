// Package openapi holds the OpenAPI 3.1 documents of Onceway's own interfaces. They are written by hand; the packages
// below are generated from them.
package openapi

import _ "embed"

// Reconciliation is the document of the API for clients, as YAML.
//
//go:embed reconciliation.yaml
var Reconciliation string

// Admin is the document of the API for operators, as YAML.
//
//go:embed admin.yaml
var Admin string
