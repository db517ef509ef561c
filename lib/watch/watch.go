// Package watch reports changes of files and directories. All watches of a
// process share one fsnotify.Watcher, which is one inotify instance, of which an
// ordinary system allows a user 128 altogether; a watch costs no descriptor. The
// watcher is there for as long as there are watches.
//
// Fsnotify goes by names, and what a name leads to is up to whoever may write the
// directory. So what is watched is the file that the caller has open, by a name
// under /proc/self/fd: the kernel goes from there to the file itself, walks through
// nobody's directory and follows nobody's link. It is also cheaper: who watches the
// directory of a log is also woken by each write to each other log in it.
package watch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Events are taken in rounds: for a moment after the first, and then they are left
// with the kernel, which joins those that are the same. So a log that is written
// 10,000 times a second does not wake the process as often. A moment is enough for
// hundreds of events. If more have come than the kernel keeps, it says so.
const (
	take   = 200 * time.Microsecond
	gather = 10 * time.Millisecond
)

// A directory is watched for its names, but fsnotify also reports each write to a
// file in it. If inVain of these come in one round then the directory is not watched
// for a while: it takes less to look at it from time to time.
const (
	inVain = 10
	avoid  = time.Second
)

// Watch is one file or directory that is watched.
type Watch struct {
	// Changed has a value when something has changed since the last one was
	// taken. A value may also come without a change.
	Changed <-chan struct{}

	changed chan struct{}
	of      *target
}

// File watches an open file: whether it is written to, cut short, renamed or
// removed. The caller may close the file while it is watched. An error means that
// the system has no watches left, or none for this file, and that the caller has to
// look by himself from time to time.
func File(f *os.File) (*Watch, error) { return add(f, false) }

// Dir watches an open directory: whether a name in it came or went. A directory
// whose files are busy is not watched.
func Dir(f *os.File) (*Watch, error) { return add(f, true) }

// identity is what is watched, whatever its names and descriptors. Fsnotify must
// be given each only once, since inotify has one watch for it.
type identity struct{ dev, ino uint64 }

// target is one file or directory and those who watch it.
type target struct {
	in      *instance
	id      identity
	name    string              // fsnotify's, which no other target of the instance has
	dir     bool                // it is a directory
	watches map[*Watch]struct{} // nil once nothing is reported any more
	inVain  int                 // events that nobody wants, of the round
	round   int
}

// instance is a watcher. What is in its maps is under mu.
type instance struct {
	watcher *fsnotify.Watcher
	byID    map[identity]*target
	byName  map[string]*target
	round   int            // counts the rounds
	lost    chan struct{}  // has a value when events have been lost
	readers sync.WaitGroup // of the watcher's channels
}

var (
	mu sync.Mutex
	// current is the instance of the process, nil while there are no watches.
	current *instance
	// ending is closed when the instance before is gone, nil if it is. The
	// kernel takes tens of milliseconds over that.
	ending chan struct{}
	// avoided are directories that are not watched, each until that time.
	avoided = map[identity]time.Time{}
)

func add(f *os.File, dir bool) (*Watch, error) {
	mu.Lock()
	defer mu.Unlock()
	in, err := acquire()
	if err != nil {
		return nil, err
	}
	t, err := in.find(f, dir)
	if err != nil {
		in.release()
		return nil, fmt.Errorf("cannot watch %q: %w", f.Name(), err)
	}
	changed := make(chan struct{}, 1)
	w := &Watch{Changed: changed, changed: changed, of: t}
	t.watches[w] = struct{}{}
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
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	current = &instance{
		watcher: watcher, byID: make(map[identity]*target), byName: make(map[string]*target), lost: make(chan struct{}, 1),
	}
	current.readers.Go(current.pass)
	current.readers.Go(current.takeErrors)
	return current, nil
}

// release ends the instance if it has no targets left. mu is held.
func (in *instance) release() {
	if len(in.byID) > 0 || in != current {
		return
	}
	gone := make(chan struct{})
	current, ending = nil, gone
	go func() {
		in.watcher.Close()
		in.readers.Wait()
		mu.Lock()
		defer mu.Unlock()
		ending = nil
		close(gone)
	}()
}

// find returns the target that f is, and makes it if it is new. mu is held.
func (in *instance) find(f *os.File, dir bool) (t *target, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if err = unix.Fstat(int(fd), &st); err != nil {
			return
		}
		t = &target{
			in: in, id: identity{uint64(st.Dev), st.Ino}, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR,
			watches: make(map[*Watch]struct{}),
		}
		if dir && !t.dir {
			err = unix.ENOTDIR
			return
		}
		if time.Now().Before(avoided[t.id]) {
			err = errors.New("the files in it are too busy")
			return
		}
		if known := in.byID[t.id]; known != nil {
			if known.watched() {
				t = known
				return
			}
			known.drop()
		}
		err = t.begin(fd)
	})
	return t, errors.Join(cerr, err)
}

const descriptors = "/proc/self/fd/"

// begin has fsnotify watch what is open as fd. The name is that of a duplicate,
// which is there only for this moment: what is watched is the file, and the number
// is not given to another target before this one has been dropped.
func (t *target) begin(fd uintptr) error {
	for least := 0; ; {
		n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, least)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		t.name = descriptors + strconv.Itoa(n)
		taken := t.in.byName[t.name] != nil
		if !taken {
			err = t.in.watcher.Add(t.name)
		}
		unix.Close(n)
		if err != nil {
			return err
		}
		if !taken {
			break
		}
		least = n + 1
	}
	if !t.watched() {
		// On some file systems one file can have two identities. Fsnotify then
		// reports it by the name that came first.
		return errors.New("it is watched already, as another file, or has just been renamed")
	}
	t.in.byID[t.id], t.in.byName[t.name] = t, t
	return nil
}

// watched asks fsnotify whether it still watches the target. mu is held.
func (t *target) watched() bool { return slices.Contains(t.in.watcher.WatchList(), t.name) }

// drop ends the target. Those who watch it get to know. mu is held.
func (t *target) drop() {
	delete(t.in.byID, t.id)
	delete(t.in.byName, t.name)
	_ = t.in.watcher.Remove(t.name) // fails if fsnotify, or the kernel, has done so
	t.notify()
	t.watches = nil
}

// notify never blocks. mu is held.
func (t *target) notify() {
	for w := range t.watches {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// Close ends the watch; more than once does no harm.
func (w *Watch) Close() {
	mu.Lock()
	defer mu.Unlock()
	if _, ok := w.of.watches[w]; !ok {
		return
	}
	if delete(w.of.watches, w); len(w.of.watches) == 0 {
		w.of.drop()
	}
	w.of.in.release()
}

// Alive reports whether changes are still reported. That ends, with a value in
// Changed, when the file is renamed, or removed and closed, and when a directory
// has become busy. Whoever still has it open can watch it again, and must then look
// at it once more.
func (w *Watch) Alive() bool {
	mu.Lock()
	defer mu.Unlock()
	_, ok := w.of.watches[w]
	// Fsnotify does not report that a file system was unmounted. That of an open
	// file is not, but a directory is usually closed while it is watched.
	return ok && (!w.of.dir || w.of.watched())
}

// pass passes on what fsnotify reports, until the watcher is closed.
func (in *instance) pass() {
	taking := false
	enough := time.NewTimer(take)
	enough.Stop()
	for {
		select {
		case ev, ok := <-in.watcher.Events:
			if !ok {
				return
			}
			mu.Lock()
			in.report(ev)
			mu.Unlock()
			if !taking {
				taking = true
				enough.Reset(take)
			}
		case <-in.lost:
			mu.Lock()
			for _, t := range in.byID {
				t.notify()
			}
			mu.Unlock()
		case <-enough.C:
			taking = false
			time.Sleep(gather)
			mu.Lock()
			in.round++
			mu.Unlock()
		}
	}
}

// takeErrors takes errors, of which an overflow is the usual one: then each file
// may have changed. It must not wait for mu: fsnotify holds its own lock until an
// error is taken, and who has mu may be waiting for that one.
func (in *instance) takeErrors() {
	for range in.watcher.Errors {
		select {
		case in.lost <- struct{}{}:
		default:
		}
	}
}

// report passes on one event. It may be late, and mean the target that had the
// name before: that does no harm. mu is held.
func (in *instance) report(ev fsnotify.Event) {
	number, _, inside := strings.Cut(strings.TrimPrefix(ev.Name, descriptors), "/")
	t := in.byName[descriptors+number]
	switch {
	case t == nil:
	case inside && !ev.Has(fsnotify.Create|fsnotify.Remove|fsnotify.Rename):
		t.vain() // nobody asks what a file of the directory holds
	case !inside && ev.Has(fsnotify.Remove|fsnotify.Rename):
		t.drop() // as fsnotify has done
		in.release()
	default:
		t.notify()
	}
}

// vain counts an event that nobody wants, and gives the directory up if there are
// too many. mu is held.
func (t *target) vain() {
	if t.round != t.in.round {
		t.round, t.inVain = t.in.round, 0
	}
	if t.inVain++; t.inVain < inVain {
		return
	}
	now := time.Now()
	maps.DeleteFunc(avoided, func(_ identity, until time.Time) bool { return until.Before(now) })
	avoided[t.id] = now.Add(avoid)
	t.drop()
	t.in.release()
}
