// Package importrules keeps the rooms of the architecture apart: which package may know which.
//
// The rules are about everything that a package links in, not only about what it imports itself, so
// that no detour leads around them. Test files are not looked at: a test may use what it likes.
package importrules
