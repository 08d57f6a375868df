// Package decorate adds to a backend's OpenAPI document what the gateway adds to its operations: the key and the
// other request headers, the answers that the gateway makes itself, and the headers that every answer carries.
//
// It adds beside what the document says, and replaces none of it; where both say something of the same
// thing, a note says so. What has been added once is not added again. A document stays in its language, JSON or
// YAML, with its order and, in YAML, its comments; anchors are written out. What lies in other files
// is not followed.
package decorate
