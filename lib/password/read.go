package password

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// maxUsersFile bounds the size of a file of users, in bytes.
const maxUsersFile = 1 << 20

// ReadUsers reads a file of users. Info tells which state of the file was read.
// An error names the file, and the line if it is about one.
func ReadUsers(path string) (users []User, info unix.Stat_t, err error) {
	fail := func(err error) ([]User, unix.Stat_t, error) {
		return nil, info, fmt.Errorf("cannot read the users of %s: %w", path, safepath.Reason(err))
	}
	f, err := safepath.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		return fail(err)
	}
	switch {
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return fail(errors.New("it is no regular file"))
	case info.Size > maxUsersFile:
		return fail(errors.New("it is larger than 1 MiB"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxUsersFile))
	if err != nil {
		return fail(err)
	}
	users, err = ParseUsers(string(text))
	var line *LineError
	if errors.As(err, &line) {
		return nil, info, fmt.Errorf("%s:%d: %s", path, line.Line, line.Message)
	}
	return users, info, err
}
