package safepath

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is a refusal, or a permission that a user lacks as whom something was
// done. Its text is a sentence with the path, the component of it, whose that
// is, and what to do.
type Error struct {
	Path string // that was asked for
	At   string // the component
	UID  int    // whose it is
	Err  unix.Errno
	why  string
}

// Reason is the text without the path that was asked for.
func (e *Error) Reason() string { return shown(e.At) + " " + e.why }

// Parts are what Reason consists of: what is wrong, and the hint, "" if there is
// none.
func (e *Error) Parts() (what, hint string) {
	what, hint, _ = strings.Cut(e.why, "; hint: ")
	return shown(e.At) + " " + what, hint
}

func (e *Error) Error() string { return fmt.Sprintf("cannot use %q: %s", e.Path, e.Reason()) }

// Unwrap gives the number that the kernel would have given.
func (e *Error) Unwrap() error { return e.Err }

// Meaning is err, where it is a refusal of the temporary name temp in the directory,
// as one of the name that was meant.
func (d *Dir) Meaning(name, temp string, err error) error {
	refused, ok := err.(*Error)
	if !ok || refused.At != join(d.path, temp) {
		return err
	}
	meant := *refused
	meant.At = join(d.path, name)
	meant.Path = meant.At
	return &meant
}

// Reason is what went wrong, for a message that names the path already.
func Reason(err error) error {
	var refused *Error
	var path *fs.PathError
	switch {
	case errors.As(err, &refused):
		return errors.New(refused.Reason())
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// explain makes an error of the kernel one that says as whom it was tried, where
// that matters. path may be "" for name in d.
func (d *Dir) explain(path, name string, err error) error {
	if d.as == ownAccount || err != unix.EACCES && err != unix.EPERM {
		return err
	}
	at := join(d.path, name)
	if path == "" {
		path = at
	}
	mend := "see that this user may use it"
	if int(d.st.Uid) != d.as {
		mend = "give " + shown(d.path) + " to that user"
	}
	return &Error{
		Path: path, At: at, UID: d.as, Err: err.(unix.Errno),
		why: "is not permitted to " + UserName(d.as) + ", to whom " + shown(d.because) + " belongs and as whom, without supplementary groups, everything below it is done; hint: " +
			mend + ", or let " + shown(d.because) + " belong to root",
	}
}

// shown is a path as it stands in a message. Whoever made a link there chose its
// text, which must not look like something else in a log or on a terminal.
func shown(path string) string {
	if quoted := strconv.Quote(path); len(quoted) != len(path)+2 {
		return quoted
	}
	return path
}

// UserName names a user for a message.
func UserName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return "user " + u.Username
	}
	return "user " + strconv.Itoa(uid)
}
