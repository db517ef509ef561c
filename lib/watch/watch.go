// Package watch reports changes of files and directories. All watches of a
// process share one inotify instance, of which an ordinary system allows a user
// 128 altogether; a watch costs no descriptor. The instance is there for as long
// as there are watches.
//
// It goes by descriptors and not by names: what is watched is the file that the
// caller has open, and two names of one file do not get into each other's way.
package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// What is worth to be reported of a file: it was written to, cut short, renamed
// or removed (the number of its links changes); and of a directory: a name in it
// came or went.
const (
	ofFile = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	ofDir  = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// Watch is one file or directory that is watched.
type Watch struct {
	// Changed has a value when something has changed since the last one was
	// taken. A value may also come without a change.
	Changed <-chan struct{}

	changed chan struct{}
	in      *instance
	wd      int32
}

// File watches an open file. The caller may close the file while it is watched.
// An error means that the system has no watches left, or none for this file, and
// that the caller has to look by himself from time to time.
func File(f *os.File) (*Watch, error) { return add(f, ofFile) }

// Dir watches an open directory.
func Dir(f *os.File) (*Watch, error) { return add(f, ofDir) }

// instance is an inotify instance. Everything in it but file and done is under
// mu.
type instance struct {
	file    *os.File
	watches map[int32]map[*Watch]struct{} // several of one file share its number
	done    chan struct{}                 // closed when nobody reads any more
}

var (
	mu sync.Mutex
	// current is the instance of the process, nil while there are no watches.
	current *instance
	// ending is closed when the instance before is gone, nil if it is. The
	// kernel takes tens of milliseconds over that.
	ending chan struct{}
)

func add(f *os.File, mask uint32) (*Watch, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	in, err := acquire()
	if err != nil {
		return nil, err
	}
	var wd int
	cerr := raw.Control(func(fd uintptr) {
		var n int
		if cerr := in.control(func(notify int) error {
			n, err = unix.InotifyAddWatch(notify, fmt.Sprintf("/proc/self/fd/%d", fd), mask)
			return err
		}); cerr != nil {
			err = cerr
		}
		wd = n
	})
	if err = errors.Join(cerr, err); err != nil {
		in.release()
		return nil, fmt.Errorf("cannot watch %q: %w", f.Name(), err)
	}
	changed := make(chan struct{}, 1)
	w := &Watch{Changed: changed, changed: changed, in: in, wd: int32(wd)}
	if in.watches[w.wd] == nil {
		in.watches[w.wd] = make(map[*Watch]struct{})
	}
	in.watches[w.wd][w] = struct{}{}
	return w, nil
}

// acquire returns the instance, which it makes if there is none. mu is held, but
// not while it waits for the end of the one before.
func acquire() (*instance, error) {
	for ending != nil {
		wait := ending
		mu.Unlock()
		<-wait
		mu.Lock()
	}
	if current != nil {
		return current, nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	current = &instance{
		file: os.NewFile(uintptr(fd), "inotify"), watches: make(map[int32]map[*Watch]struct{}), done: make(chan struct{}),
	}
	go current.read()
	return current, nil
}

// release ends the instance if it has no watches left. mu is held.
func (in *instance) release() {
	if len(in.watches) > 0 || in != current {
		return
	}
	gone := make(chan struct{})
	current, ending = nil, gone
	go func() {
		in.file.Close()
		<-in.done
		mu.Lock()
		defer mu.Unlock()
		ending = nil
		close(gone)
	}()
}

// control calls f with the descriptor of the instance.
func (in *instance) control(f func(notify int) error) error {
	raw, err := in.file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(cerr, err)
}

// Close ends the watch; more than once does no harm.
func (w *Watch) Close() {
	mu.Lock()
	defer mu.Unlock()
	same := w.in.watches[w.wd]
	if _, ok := same[w]; !ok {
		return
	}
	if delete(same, w); len(same) == 0 {
		delete(w.in.watches, w.wd)
		_ = w.in.control(func(notify int) error {
			_, err := unix.InotifyRmWatch(notify, uint32(w.wd))
			return err
		})
	}
	w.in.release()
}

// Alive reports whether changes are still reported: the kernel gives up the
// watch of a file that is removed and closed, or whose file system is unmounted.
func (w *Watch) Alive() bool {
	mu.Lock()
	defer mu.Unlock()
	_, ok := w.in.watches[w.wd][w]
	return ok
}

// notify never blocks. mu is held.
func (w *Watch) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// read passes on what the kernel says, until the instance is closed.
func (in *instance) read() {
	defer close(in.done)
	var buf [4096]byte
	for {
		n, err := in.file.Read(buf[:])
		if err != nil {
			return
		}
		mu.Lock()
		in.pass(buf[:n])
		mu.Unlock()
	}
}

// pass takes whole events: their number, mask, cookie and the length of a name,
// which follows.
func (in *instance) pass(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[min(len(events), unix.SizeofInotifyEvent+int(name)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, same := range in.watches {
				for w := range same {
					w.notify()
				}
			}
			continue
		}
		for w := range in.watches[wd] {
			w.notify()
		}
		if mask&unix.IN_IGNORED != 0 && len(in.watches[wd]) > 0 {
			delete(in.watches, wd)
			in.release()
		}
	}
}
