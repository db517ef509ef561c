// Package trust says whether only root can change what root is about to execute
// or to obey. Who can exchange a program that root runs, or the configuration
// that says what root runs, is root.
package trust

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sup/lib/safepath"
)

// Error says who could change a file that root is to use.
type Error struct {
	// Path is the file, Writer who could change it, and where.
	Path   string
	Writer safepath.Writer
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s is not only root's to change: %v", e.Path, e.Writer)
}

// Path checks that nobody beside root and ourselves could change what a path
// leads to. The error is an *Error for the first who could.
func Path(path string) error {
	writers, err := Strangers(path)
	if err != nil {
		return err
	}
	if len(writers) > 0 {
		return &Error{Path: path, Writer: writers[0]}
	}
	return nil
}

// Binary is Path for a program that is executed next, with a hint; for an
// ordinary user there is nothing to check. Nobody can come between the check and
// the execution: whoever could is what it looks for.
func Binary(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	err := Path(path)
	var e *Error
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		// To execute what is not there fails with words of its own.
		return nil
	case errors.As(err, &e):
		return fmt.Errorf("cannot run %s as root: %v, who could exchange it and become root; "+
			"hint: install sup where only root can write, for example with \"make install\", and start it there", e.Path, e.Writer)
	}
	return err
}

// Strangers says who, beside root and ourselves, could change what a path leads
// to. Groups without a member count as nobody: Debian gives /usr/local to one.
func Strangers(path string) ([]safepath.Writer, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	writers, err := safepath.Writers(path)
	if len(writers) == 0 {
		return nil, err
	}
	hidden := unmapped()
	return slices.DeleteFunc(writers, func(w safepath.Writer) bool {
		return w.GID >= 0 && withoutMembers(w.GID) || hidden && w.UID == overflow
	}), err
}

// overflow is the number of users that a user namespace does not know.
const overflow = 65534

// unmapped tells whether a file that seems to belong to the user overflow is one
// of a user that our user namespace does not know: root of the machine, mostly,
// who is above us anyway.
func unmapped() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, n int64
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err != nil || inside <= overflow && overflow < inside+n {
			return false
		}
	}
	return true
}

// withoutMembers tells whether a group is known and has no members.
func withoutMembers(gid int) bool {
	number := strconv.Itoa(gid)
	known := false
	members := false
	eachLine("/etc/group", func(f []string) {
		if len(f) >= 4 && f[2] == number {
			known = true
			members = members || strings.Trim(f[3], " ,") != ""
		}
	})
	eachLine("/etc/passwd", func(f []string) {
		members = members || len(f) >= 4 && f[3] == number
	})
	return known && !members
}

// eachLine calls f with the fields of each line.
func eachLine(file string, f func([]string)) {
	in, err := os.Open(file)
	if err != nil {
		return
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f(strings.Split(lines.Text(), ":"))
	}
}
