package state

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenFile opens a file of the directory, and makes sure that it is ours and that
// nobody else could read or write it.
func (d *Dir) OpenFile(name string, flags int) (*os.File, error) {
	f, err := d.open(name, flags, true)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.path + "/" + name, Err: err}
	}
	return f, nil
}

// RenameFile gives a file of the directory another name.
func (d *Dir) RenameFile(from, to string) error {
	if err := unix.Renameat(d.fd, from, d.fd, to); err != nil {
		return &os.LinkError{Op: "rename", Old: d.path + "/" + from, New: to, Err: err}
	}
	return nil
}
