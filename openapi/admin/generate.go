// Package admin is the operators' API as Go: its types, a client, and the interface of its server. All but this file
// and values.go is generated from openapi/admin.yaml; change that, and run go generate ./openapi/...
package admin

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml -o admin.gen.go ../admin.yaml
