// Package value holds the scalar types of the configuration: what a byte
// size, a signal, an octal mode, a list of exit codes or a restart policy is,
// and how some are written in a file. It looks at nothing but the text.
//
// Errors are *Error; they carry the code of the mistake.
package value
