// Package openapi holds the OpenAPI 3.1 documents of Onceway's own interfaces.
package openapi
