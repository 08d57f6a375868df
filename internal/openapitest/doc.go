// Package openapitest holds answers against an OpenAPI 3.1 document: that the path, the method and the
// status are in it, that the headers it requires are there, and that JSON has the form it says.
//
// It knows the keywords that our documents use, and fails on any other, so that none is passed over.
package openapitest
