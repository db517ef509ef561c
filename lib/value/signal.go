package value

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Signal is a signal by number, as in unix.SIGTERM.
type Signal = unix.Signal

// lastPlainSignal is the last of the signals that are not real-time signals,
// all of which have a name.
const lastPlainSignal Signal = 31

// The two real-time signals that have a name.
const (
	sigRTMin Signal = 34
	sigRTMax Signal = 64
)

// aliases are the signals whose name is not the usual one of their number.
var aliases = map[string]Signal{
	"CLD":    unix.SIGCHLD,
	"IOT":    unix.SIGABRT,
	"POLL":   unix.SIGIO,
	"STKFLT": unix.SIGSTKFLT,
	"RTMIN":  sigRTMin,
	"RTMAX":  sigRTMax,
}

// ParseSignal reads the number of a signal that has a name, or a name in any
// case, with or without SIG in front.
func ParseSignal(s string) (Signal, error) {
	if n, err := ParseInt(s); err == nil {
		if 1 <= n && n <= int64(lastPlainSignal) || n == int64(sigRTMin) || n == int64(sigRTMax) {
			return Signal(n), nil
		}
		return 0, newError(BadSignal, s, "")
	}
	name := strings.TrimPrefix(Upper(Trim(s)), "SIG")
	if sig, ok := aliases[name]; ok {
		return sig, nil
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 && name != "" {
		return sig, nil
	}
	return 0, newError(BadSignal, s, "")
}

// FormatSignal writes the name of a signal without SIG, or its number if it
// has none.
func FormatSignal(sig Signal) string {
	switch sig {
	case sigRTMin:
		return "RTMIN"
	case sigRTMax:
		return "RTMAX"
	}
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return FormatInt(int64(sig))
}
