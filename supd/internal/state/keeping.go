package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An identity is kept in a file of the state directory, and by suplog in a sealed
// memory file: when the directory is damaged or removed, a new daemon still knows
// the marks of its programs as long as suplog lives.

// memoryName names that memory file among the descriptors of suplog.
const memoryName = "sup-identity"

// MemoryFile makes a memory file that holds an identity, to be left with suplog.
func (id *Identity) MemoryFile() (int, error) {
	fd, err := unix.MemfdCreate(memoryName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	n, err := unix.Pwrite(fd, []byte(id.Secret()), 0)
	if err == nil && n != secretLen {
		err = unix.ENOSPC
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Identity is that of the line of daemons that use the directory.
func (d *Dir) Identity() *Identity { return d.identity }

// identify finds out the identity that belongs to the directory, or makes one. It
// reports whether there was one.
func (d *Dir) identify() (known bool) {
	text, err := d.readAll(keyName, secretLen+1, true)
	if err == nil {
		var ok bool
		if d.identity, ok = ParseSecret(string(text)); ok {
			return true
		}
		err = errors.New("it is damaged")
	}
	d.identity = nil
	if !errors.Is(err, unix.ENOENT) {
		d.notes = append(d.notes, fmt.Sprintf("cannot use the key in %s: %v; making another one", d.path, err))
	}
	if !errors.Is(err, errReadable) && d.abandoned {
		d.identity = askLoggers(d.path)
	}
	if known = d.identity != nil; !known {
		d.identity = NewIdentity()
	}
	if err := d.write(keyName, []byte(d.identity.Secret()), func() {}); err != nil && d.fd >= 0 {
		d.notes = append(d.notes, fmt.Sprintf("cannot write the key in %s: %v", d.path, err))
	}
	return known
}

// oldMarks reports whether there are processes with marks from before there were
// proofs, made for a directory at a path.
func oldMarks(path string) bool {
	var r reader
	for _, pid := range processes() {
		environ, err := r.read(pid, "environ")
		if err != nil {
			continue
		}
		if m := ParseMark(markIn(environ)); !m.Old() || m.Instance != OldInstance(path) {
			continue
		}
		if c, err := r.credentials(pid); err == nil && c.ours {
			return true
		}
	}
	return false
}

// askLoggers looks for the identity that a log process of a directory holds, nil if
// there is none.
func askLoggers(dir string) *Identity {
	for _, l := range Loggers(dir) {
		fds := "/proc/" + strconv.Itoa(l.PID) + "/fd"
		entries, _ := os.ReadDir(fds)
		for _, e := range entries {
			target, err := os.Readlink(fds + "/" + e.Name())
			if err != nil || !strings.HasPrefix(target, "/memfd:"+memoryName) {
				continue
			}
			if id := readMemory(fds + "/" + e.Name()); id != nil {
				return id
			}
		}
	}
	return nil
}

// readMemory reads a memory file.
func readMemory(path string) *Identity {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	// Of all that may have that name only a memory file has seals.
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 {
		return nil
	}
	var text [secretLen + 1]byte
	n, err := unix.Pread(fd, text[:], 0)
	if err != nil {
		return nil
	}
	id, ok := ParseSecret(string(text[:n]))
	if !ok {
		return nil
	}
	return id
}
