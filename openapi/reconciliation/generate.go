// Package reconciliation is the reconciliation API as Go: its types, a client, and the interface of its server.
// All but this file is generated from openapi/reconciliation.yaml; change that, and run go generate ./openapi/...
package reconciliation

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml -o reconciliation.gen.go ../reconciliation.yaml
