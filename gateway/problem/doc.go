// Package problem writes every answer that Onceway makes itself and that is not a record: problem
// details (RFC 9457) together with the headers that a client acts on.
//
// The set of problems is closed. [Slug] names them, one table says what each one means, and one
// [Writer] puts them on the wire, so that a status, a State and a Next always belong together. What a
// client reads here says what to do; private causes go to the log, never into a [Problem].
//
// The package decides nothing about requests. It does not know which problem fits a situation.
package problem
