package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
)

// instances counts the inotify instances of the process.
func instances(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if what, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(what, "inotify") {
			n++
		}
	}
	return n
}

// ended waits until the instance of the watches that were closed is gone.
func ended() {
	mu.Lock()
	wait := ending
	mu.Unlock()
	if wait != nil {
		<-wait
	}
}

func expect(t *testing.T, w *Watch, what string) {
	t.Helper()
	select {
	case <-w.Changed:
	case <-time.After(time.Minute):
		t.Fatalf("not told of: %s", what)
	}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// write writes until the watch has told of it, and takes what else it tells.
func write(t *testing.T, f *os.File, w *Watch) {
	t.Helper()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "a write")
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	f := create(t, path)
	g := create(t, filepath.Join(dir, "b"))
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	same, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []*Watch
	for _, file := range []*os.File{f, same, g} {
		w, err := File(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	same.Close() // the watch stays
	w, err := Dir(d)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, w)
	if n := instances(t); n != 1 {
		t.Errorf("%d instances", n)
	}
	write(t, f, all[0])
	expect(t, all[1], "a write over another descriptor")
	if len(all[2].changed) > 0 || len(all[3].changed) > 0 {
		t.Error("told of the write to another file")
	}
	all[0].Close()
	all[0].Close()
	write(t, f, all[1])
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	expect(t, all[3], "a name that is gone")
	for all[1].Alive() {
		expect(t, all[1], "a new name")
	}
	again, err := File(f)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, again)
	all = append(all, again)
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	expect(t, again, "the end of the last name")
	if !again.Alive() {
		t.Error("the watch ended while the file was open")
	}
	f.Close()
	for again.Alive() {
		expect(t, again, "the end of the file")
	}
	if _, err := Dir(g); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file as directory: %v", err)
	}
	for _, w := range all {
		w.Close()
	}
	ended()
	if n := instances(t); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

// TestAttackWatchesTakeAllInstances has many watchers, which come and go at the
// same time. Together they must have no more than one of the 128 instances that
// a user may have.
func TestAttackWatchesTakeAllInstances(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	most := 0
	for i := range 300 {
		f := create(t, filepath.Join(dir, "f"+string(rune('a'+i%26))))
		wg.Go(func() {
			for range 5 {
				w, err := File(f)
				if err != nil {
					t.Error(err)
					return
				}
				write(t, f, w)
				w.Close()
			}
		})
		if i%50 == 0 {
			most = max(most, instances(t))
		}
	}
	wg.Wait()
	ended()
	if n := instances(t); most > 1 || n != 0 {
		t.Errorf("%d instances, %d afterwards", most, n)
	}
}

// TestOverflow has more events than the kernel keeps: every watcher has to look.
func TestOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || most > 1<<17 {
		t.Skipf("the kernel keeps %q events", text)
	}
	dir := t.TempDir()
	a, b, c := create(t, filepath.Join(dir, "a")), create(t, filepath.Join(dir, "b")), create(t, filepath.Join(dir, "c"))
	var all []*Watch
	for _, f := range []*os.File{a, b, c} {
		w, err := File(f)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		all = append(all, w)
	}
	// Nothing is passed on meanwhile. Fsnotify holds some in its buffer of 64 KB.
	mu.Lock()
	for range most/2 + 1<<16/unix.SizeofInotifyEvent {
		for _, f := range []*os.File{a, b} {
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
		}
	}
	mu.Unlock()
	expect(t, all[2], "an overflow")
	expect(t, all[0], "an overflow")
}

// TestAttackNamesExchanged has what was watched by a descriptor's number go away,
// while the number is used for other files: each watch is of its own file only.
func TestAttackNamesExchanged(t *testing.T) {
	dir := t.TempDir()
	secret := create(t, filepath.Join(dir, "secret"))
	path := filepath.Join(dir, "log")
	for range 50 {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := File(f)
		if err != nil {
			t.Fatal(err)
		}
		second, err := File(f)
		if err != nil {
			t.Fatal(err)
		}
		// Under the name is now a link, and under the number another file.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("secret", path); err != nil {
			t.Fatal(err)
		}
		expect(t, w, "the end of the name")
		expect(t, second, "the end of the name")
		w.Close()
		other := create(t, filepath.Join(dir, "other"))
		o, err := File(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := secret.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		write(t, f, second)
		if len(o.changed) > 0 || len(second.changed) > 0 {
			t.Error("told of the write to another file")
		}
		write(t, other, o)
		o.Close()
		f.Close()
		for second.Alive() {
			expect(t, second, "the end of the file")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRenamed has a file that is renamed and written to again and again. Who looks
// whenever he is told, and watches again what is not watched, misses nothing.
func TestRenamed(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) string { return filepath.Join(dir, strconv.Itoa(i)) }
	f := create(t, name(0))
	const renamed = 200
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range renamed {
			if err := os.Rename(name(i), name(i+1)); err != nil {
				t.Error(err)
			}
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
		}
	})
	defer writer.Wait()
	var w *Watch
	for {
		if w == nil || !w.Alive() {
			if again, err := File(f); err == nil { // and not renamed in this moment
				w = again
			}
			if w == nil {
				continue
			}
		}
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() == renamed {
			break
		}
		expect(t, w, "a write")
	}
	w.Close()
}

// TestBusyFile: a file that is written to all the time does not wake the process
// each time.
func TestBusyFile(t *testing.T) {
	f := create(t, filepath.Join(t.TempDir(), "a"))
	w, err := File(f)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	woken := 0
	begun := time.Now()
	for time.Since(begun) < 10*gather {
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.Changed:
			woken++
		default:
		}
	}
	if took := time.Since(begun); woken == 0 || woken > 100*int(took/gather) {
		t.Errorf("woken %d times in %v", woken, took)
	}
}

// TestBusyDirectory: a directory is given up for a while if its files are written to
// all the time, of which nobody wants to know.
func TestBusyDirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := create(t, filepath.Join(dir, "a")), create(t, filepath.Join(dir, "b"))
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := Dir(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	create(t, filepath.Join(dir, "c"))
	expect(t, w, "a name")
	for begun := time.Now(); w.Alive(); {
		for _, f := range []*os.File{a, b} {
			if _, err := f.WriteString("x"); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("still watched")
		}
	}
	expect(t, w, "the end of the watch")
	mu.Lock()
	for id, until := range avoided {
		if until.Before(time.Now()) {
			t.Error("avoided until the past")
		}
		avoided[id] = time.Now().Add(time.Hour)
	}
	mu.Unlock()
	if _, err := Dir(d); err == nil {
		t.Error("watched again at once")
	}
	mu.Lock()
	clear(avoided)
	mu.Unlock()
	again, err := Dir(d)
	if err != nil {
		t.Fatal(err)
	}
	create(t, filepath.Join(dir, "d"))
	expect(t, again, "a name")
	again.Close()
}

// TestUnmounted watches a directory of a file system that goes away, of which
// fsnotify says nothing.
func TestUnmounted(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("sup", dir, "tmpfs", 0, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	mounted := true
	defer func() {
		if mounted {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Dir(d)
	d.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !w.Alive() {
		t.Error("not watched")
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	mounted = false
	suptest.Until(t, "the end of the watch", func() error {
		if w.Alive() {
			return errors.New("still watched")
		}
		return nil
	})
}
