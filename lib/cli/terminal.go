package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colours reports whether what is written to a stream may be coloured: it is
// a terminal, one that knows how, and NO_COLOR is not set.
func Colours(stream any) bool {
	if !IsTerminal(stream) || os.Getenv("NO_COLOR") != "" {
		return false
	}
	name := os.Getenv("TERM")
	return name != "" && name != "dumb"
}

// ErrNoTerminal is returned by ReadPassword if the process has none.
var ErrNoTerminal = errors.New("there is no terminal to read a password from")

// ReadPassword asks for a password on the terminal that controls the process,
// whatever its standard streams are, and reads it without echo.
func ReadPassword(prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	fmt.Fprint(tty, prompt)
	password, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return string(password), err
}

// UntilReaderGone returns a context that is done when nobody reads any more
// what is written to f, if f is a pipe or a socket. A filter that waits for
// input would notice that at its next write only, which may be never.
func UntilReaderGone(ctx context.Context, f *os.File) context.Context {
	info, err := f.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	fd := int32(f.Fd())
	go func() {
		defer cancel()
		for {
			fds := []unix.PollFd{{Fd: fd}} // errors are reported unasked
			if _, err := unix.Poll(fds, -1); err == nil || !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return ctx
}
