package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	expect(t, all[1], "a new name")
	expect(t, all[3], "a name that is gone")
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	expect(t, all[1], "the end of the last name")
	if !all[1].Alive() {
		t.Error("the watch ended while the file was open")
	}
	f.Close()
	for all[1].Alive() {
		expect(t, all[1], "the end of the file")
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
	dir := t.TempDir()
	f, quiet := create(t, filepath.Join(dir, "a")), create(t, filepath.Join(dir, "b"))
	w, err := File(f)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	q, err := File(quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	event := make([]byte, unix.SizeofInotifyEvent)
	for i := range 4 {
		event[i] = 0xff // no watch
	}
	event[5] = unix.IN_Q_OVERFLOW >> 8
	mu.Lock()
	current.pass(event)
	mu.Unlock()
	expect(t, q, "an overflow")
	expect(t, w, "an overflow")
}
