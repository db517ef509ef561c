//go:build 386 || arm

package safepath

import "golang.org/x/sys/unix"

// The older call has groups of 16 bits.
const sysSetgroups = unix.SYS_SETGROUPS32
