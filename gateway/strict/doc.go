// Package strict puts servers that are generated from OpenAPI documents onto echo.
//
// The document decides which addresses there are, which parameters a call has, and of which kind its answer
// is. What is ours stays ours: a key is cut out of the path and decoded by our own code, a GET can be asked
// as HEAD, other methods are told which there are, a field that may come in several lines may, and what
// generated code refuses by itself is refused with a problem like everything else.
package strict
