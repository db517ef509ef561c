package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// folder is a place in a temporary directory, whose disk can be full.
type folder struct {
	dir  string
	full atomic.Bool
}

func (f *folder) OpenFile(name string, flags int) (*os.File, error) {
	if f.full.Load() && flags&os.O_CREATE != 0 {
		return nil, unix.ENOSPC
	}
	return os.OpenFile(filepath.Join(f.dir, name), flags, 0o600)
}

func (f *folder) RenameFile(from, to string) error {
	return os.Rename(filepath.Join(f.dir, from), filepath.Join(f.dir, to))
}

func (f *folder) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const patience = 10 * time.Second

// open opens a log whose warnings come to the returned slice after it was closed.
func open(t *testing.T, place Place) (*Log, *[]string) {
	t.Helper()
	var warnings []string
	return Open(place, "boot-1", func(text string) { warnings = append(warnings, text) }), &warnings
}

func read(t *testing.T, l *Log, since int64) []Entry {
	t.Helper()
	entries, err := l.Read(since)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func names(entries []Entry) (list []string) {
	for _, e := range entries {
		list = append(list, e.Name)
	}
	return list
}

func TestEntriesOutliveTheDaemon(t *testing.T) {
	f := &folder{dir: t.TempDir()}
	l, _ := open(t, f)
	l.Add(Entry{Kind: State, Name: "a", From: "STOPPED", To: "STARTING"})
	l.Add(Entry{Kind: Call, Name: "a", Method: "startProcess", Result: "ok", Who: &Who{UID: 1000, PID: 7, User: "alice", Role: "operate"}, Note: "deploy 4711"})
	first := read(t, l, 0)
	l.Close(patience)
	l, warnings := open(t, f)
	l.Add(Entry{Kind: Signal, Name: "SIGHUP"})
	all := read(t, l, 0)
	l.Close(patience)
	if len(*warnings) > 0 {
		t.Error(*warnings)
	}
	if got := names(all); !slices.Equal(got, []string{"a", "a", "SIGHUP"}) {
		t.Fatalf("got %v", all)
	}
	for i, e := range all {
		if e.ID != int64(i+1) || e.At == 0 || e.Mono == 0 || e.Boot != "boot-1" {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	if w := all[1].Who; w == nil || *w != *first[1].Who || w.User != "alice" || all[1].Note != "deploy 4711" {
		t.Errorf("who is %+v", w)
	}
	if since := mustReadFrom(t, f, 2); len(since) != 1 || since[0].ID != 3 {
		t.Errorf("since 2: %+v", since)
	}
}

func mustReadFrom(t *testing.T, place Place, since int64) []Entry {
	t.Helper()
	entries, err := ReadFrom(place, since)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestRing sees to it that the record does not grow, whatever comes at a time.
func TestRing(t *testing.T) {
	f := &folder{dir: t.TempDir()}
	l, _ := open(t, f)
	const total = 8000
	reason := strings.Repeat("reason", 40)
	for i := range total {
		l.Add(Entry{Kind: State, Name: fmt.Sprint("program-", i), From: "RUNNING", To: "EXITED", Reason: reason, PID: i})
		if i%3000 == 0 {
			l.Flush(patience)
		}
	}
	l.Close(patience)
	var size int64
	for _, name := range []string{youngName, oldName} {
		info, err := os.Stat(filepath.Join(f.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("the mode of %s is %v", name, info.Mode())
		}
		size += info.Size()
	}
	if size > maxBytes+2*longestLine {
		t.Errorf("the record has %d bytes", size)
	}
	entries := mustReadFrom(t, f, 0)
	if len(entries) < 1000 || entries[len(entries)-1].Name != fmt.Sprint("program-", total-1) {
		t.Fatalf("%d entries, the last is %+v", len(entries), entries[len(entries)-1])
	}
	for i, e := range entries[1:] {
		if e.ID != entries[i].ID+1 || e.Boot != "boot-1" {
			t.Fatalf("%+v follows %+v", e, entries[i])
		}
	}
}

func TestTornEntry(t *testing.T) {
	for _, torn := range []string{`{"id":3,"at":17,"kind":"sta`, "\x00\x00\x00", `{"id":3`} {
		f := &folder{dir: t.TempDir()}
		f.write(t, youngName, `{"id":1,"at":1,"mono":1,"boot":"b","kind":"state","name":"a"}`+"\n"+`{"id":2,"at":1,"mono":1,"kind":"state","name":"b"}`+"\n"+torn)
		l, warnings := open(t, f)
		l.Add(Entry{Kind: State, Name: "c"})
		l.Close(patience)
		if got := names(mustReadFrom(t, f, 0)); !slices.Equal(got, []string{"a", "b", "c"}) || len(*warnings) > 0 {
			t.Errorf("%q: %v, warnings %v", torn, got, *warnings)
		}
	}
	// The first entry of all.
	f := &folder{dir: t.TempDir()}
	f.write(t, youngName, `{"id":1,"at"`)
	l, warnings := open(t, f)
	l.Add(Entry{Kind: State, Name: "c"})
	l.Close(patience)
	if got := names(mustReadFrom(t, f, 0)); !slices.Equal(got, []string{"c"}) || len(*warnings) > 0 {
		t.Errorf("%v, warnings %v", got, *warnings)
	}
}

func TestDamage(t *testing.T) {
	for name, text := range map[string]string{
		"garbage": strings.Repeat("garbage\n", 100), "zeros": strings.Repeat("\x00", 5000), "large": strings.Repeat("x", 3*maxBytes),
		"other JSON": `{"hello":"world"}` + "\n",
	} {
		f := &folder{dir: t.TempDir()}
		f.write(t, youngName, text)
		f.write(t, oldName, `{"id":41,"at":1,"mono":1,"boot":"b","kind":"state","name":"old"}`+"\n")
		l, warnings := open(t, f)
		l.Add(Entry{Kind: State, Name: "new"})
		l.Close(patience)
		entries := mustReadFrom(t, f, 0)
		if got := names(entries); !slices.Equal(got, []string{"old", "new"}) || entries[1].ID != 42 {
			t.Errorf("%s: %+v", name, entries)
		}
		if len(*warnings) != 1 || !strings.Contains((*warnings)[0], damagedName) {
			t.Errorf("%s: warnings %q", name, *warnings)
		}
		if aside, _ := os.ReadFile(filepath.Join(f.dir, damagedName)); string(aside) != text {
			t.Errorf("%s is not what was set aside", name)
		}
	}
}

// TestFullDisk sees to it that what could not be written is counted.
func TestFullDisk(t *testing.T) {
	f := &folder{dir: t.TempDir()}
	f.full.Store(true)
	l, warnings := open(t, f)
	for range 3 {
		l.Add(Entry{Kind: State, Name: "a"})
		l.Flush(patience)
	}
	f.full.Store(false)
	l.Add(Entry{Kind: State, Name: "b"})
	l.Close(patience)
	entries := mustReadFrom(t, f, 0)
	if len(entries) != 2 || entries[0].Kind != Gap || entries[0].Count != 3 || entries[1].Name != "b" {
		t.Errorf("got %+v", entries)
	}
	if len(*warnings) != 1 {
		t.Errorf("warnings %q", *warnings)
	}
}

func TestInMemory(t *testing.T) {
	l, _ := open(t, nil)
	defer l.Close(patience)
	for i := range 2 * mostKept {
		l.Add(Entry{Kind: State, Name: fmt.Sprint(i)})
		if i%1000 == 0 {
			l.Flush(patience)
		}
	}
	l.Flush(patience)
	entries := read(t, l, 0)
	if len(entries) != mostKept || entries[mostKept-1].Name != fmt.Sprint(2*mostKept-1) {
		t.Errorf("%d entries", len(entries))
	}
	if since := read(t, l, entries[mostKept-2].ID); len(since) != 1 {
		t.Errorf("since: %d", len(since))
	}
	var none *Log
	none.Add(Entry{})
	none.Flush(patience)
	none.Close(patience)
}

// TestRepeats counts what comes again and again.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, nil)
		guess := func(i int) Entry {
			return Entry{Kind: Call, Method: "stopProcess", Name: fmt.Sprint("guess", i), Result: fmt.Sprint("BAD_NAME: guess", i), Who: &Who{UID: -1, Addr: fmt.Sprint("192.0.2.1:", i)}}
		}
		for i := range 1000 {
			l.Add(guess(i))
		}
		l.Add(Entry{Kind: State, Name: "other"})
		time.Sleep(time.Second)
		entries := read(t, l, 0)
		if len(entries) != manyTimes+1 {
			t.Errorf("at first %d entries", len(entries))
		}
		time.Sleep(2 * window)
		entries = read(t, l, entries[len(entries)-1].ID)
		if len(entries) != 1 || entries[0].Count != 1000-manyTimes || entries[0].Name != "guess999" {
			t.Errorf("later %+v", entries)
		}
		// Nobody is counted for another.
		last := entries[0].ID
		for i := range 20 {
			e := guess(i)
			e.Who = &Who{UID: -1, Addr: fmt.Sprintf("192.0.2.%d:1", i)}
			l.Add(e)
		}
		if entries = read(t, l, last); len(entries) != 20 {
			t.Errorf("%d of 20 clients", len(entries))
		}
		// What is still being counted is not lost at the end.
		for i := range 50 {
			l.Add(guess(i))
		}
		l.Close(patience)
		synctest.Wait()
		n := 0
		for _, e := range l.kept {
			n += max(e.Count, 1)
		}
		if n != 1000+1+20+50 {
			t.Errorf("in all %d", n)
		}
	})
}

func TestControlCharacters(t *testing.T) {
	for text, want := range map[string]string{"plain äöü 日本": "plain äöü 日本", "a\x1b[2Jb\nc": `a\x1b[2Jb\nc`} {
		if got := clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := clean(strings.Repeat("x", 10000)); len(got) > longest+6 {
		t.Errorf("%d bytes", len(got))
	}
	l, _ := open(t, nil)
	defer l.Close(patience)
	bad := strings.Repeat("\x1b\n\u202e", 10000)
	l.Add(Entry{Kind: Call, Name: bad, From: bad, To: bad, Reason: bad, Method: bad, Result: bad, Note: bad, Who: &Who{Addr: bad, User: bad, Role: bad}})
	entries := read(t, l, 0)
	if len(entries) != 1 || strings.ContainsAny(fmt.Sprintf("%+v%+v", entries[0], *entries[0].Who), "\x1b\n\u202e") {
		t.Errorf("got %+v", entries)
	}
}

// TestHangingDisk sees to it that nobody waits for one.
func TestHangingDisk(t *testing.T) {
	h := &hanging{&folder{dir: t.TempDir()}, make(chan struct{})}
	l, _ := open(t, h)
	for i := range mostPending + 100 {
		l.Add(Entry{Kind: State, Name: fmt.Sprint(i)})
	}
	l.Flush(time.Millisecond)
	close(h.free)
	l.Flush(patience)
	l.Add(Entry{Kind: State, Name: "last"})
	l.Close(patience)
	entries := mustReadFrom(t, h, 0)
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Kind == Gap })
	if i < 0 || entries[i].Count != 100 || entries[len(entries)-1].Name != "last" {
		t.Errorf("%d entries, gap at %d", len(entries), i)
	}
}

type hanging struct {
	*folder
	free chan struct{}
}

func (h *hanging) OpenFile(name string, flags int) (*os.File, error) {
	<-h.free
	return h.folder.OpenFile(name, flags)
}

// FuzzParse reads whatever may lie in a file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":1,"at":1,"mono":1,"boot":"b","kind":"state","name":"a"}`+"\n"+`{"id":2,"kind":"call","who":{"uid":3}}`+"\n{"), int64(0))
	f.Add([]byte(`{"id":2,"kind":"x"}`+"\n"+`{"id":1,"kind":"x"}`+"\n"), int64(1))
	f.Fuzz(func(t *testing.T, text []byte, since int64) {
		entries := parse(text, since)
		var again []byte
		for i, e := range entries {
			if e.ID <= since || e.ID <= 0 || i > 0 && e.ID <= entries[i-1].ID {
				t.Fatalf("out of order: %+v", entries)
			}
			e := e
			again = e.appendTo(again)
		}
		if n := len(parse(again, since)); n != len(entries) {
			t.Fatalf("%d of %d entries are read again", n, len(entries))
		}
		dir := t.TempDir()
		place := &folder{dir: dir}
		place.write(t, youngName, string(text))
		l := Open(place, "b", func(string) {})
		l.Add(Entry{Kind: State, Name: "added"})
		l.Close(patience)
		all, err := ReadFrom(place, 0)
		if err != nil || len(all) == 0 || all[len(all)-1].Name != "added" {
			t.Fatalf("what was added is not there: %+v, %v", all, err)
		}
	})
}

func TestNoPlace(t *testing.T) {
	place := &folder{dir: filepath.Join(t.TempDir(), "gone")}
	l, warnings := open(t, place)
	l.Add(Entry{Kind: State})
	l.Add(Entry{Kind: State})
	l.Close(patience)
	if len(*warnings) != 1 {
		t.Errorf("warnings %q", *warnings)
	}
	if _, err := ReadFrom(place, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkAdd(b *testing.B) {
	l := Open(&folder{dir: b.TempDir()}, "boot", func(string) {})
	defer l.Close(patience)
	for i := range b.N {
		l.Add(Entry{Kind: State, Name: "web:web-11", From: "STARTING", To: "RUNNING", PID: i})
	}
}
