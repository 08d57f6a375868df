// Package openapi holds the OpenAPI 3.1 documents of Onceway's own interfaces. They are written by hand; the packages
// below are generated from them.
package openapi
