package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open0(t *testing.T, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.Trouble = func(err error) { t.Errorf("trouble: %v", err) }
	return f
}

func write(t *testing.T, f *File, s string) {
	t.Helper()
	if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(s), err)
	}
}

// contents gives each file of a directory, by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(b)
	}
	return got
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := contents(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files are\n %q, want\n %q", got, want)
	}
}

// a feeder brings bytes to a file in one of the two ways there are.
type feeder func(t *testing.T, f *File, s string)

var feeders = map[string]feeder{
	"write": write,
	"splice": func(t *testing.T, f *File, s string) {
		t.Helper()
		r, w := pipe(t, s)
		defer unix.Close(r)
		unix.Close(w)
		spliceAll(t, f, r)
	},
}

func pipe(t *testing.T, s string) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 1<<20)
	if n, err := unix.Write(fds[1], []byte(s)); n != len(s) || err != nil {
		t.Fatalf("wrote %d of %d bytes to the pipe: %v", n, len(s), err)
	}
	return fds[0], fds[1]
}

func spliceAll(t *testing.T, f *File, r int) {
	t.Helper()
	for {
		_, err := f.Splice(r, 1<<20)
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotation(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct {
		name   string
		o      Options
		before map[string]string
		feed   []string
		want   map[string]string
	}{
		{"no limit", Options{}, nil, []string{long, "\n", long}, map[string]string{"l": long + "\n" + long}},
		{"below the limit", Options{MaxBytes: 10, Backups: 2}, nil, []string{"123456789"}, map[string]string{"l": "123456789"}},
		{"exactly the limit", Options{MaxBytes: 10, Backups: 2}, nil, []string{"123456789\n"}, map[string]string{"l": "", "l.1": "123456789\n"}},
		{"to the end of the line", Options{MaxBytes: 10, Backups: 2}, nil, []string{"1234\n67890123\n56\n"},
			map[string]string{"l": "56\n", "l.1": "1234\n67890123\n"}},
		{"a partial line moves on", Options{MaxBytes: 10, Backups: 2}, nil, []string{"1234567890\nab", "cd"},
			map[string]string{"l": "abcd", "l.1": "1234567890\n"}},
		{"a line waits for its end", Options{MaxBytes: 10, Backups: 2}, nil, []string{"123456789012", "345", "6\nab"},
			map[string]string{"l": "ab", "l.1": "1234567890123456\n"}},
		{"several at once", Options{MaxBytes: 4, Backups: 2}, nil, []string{"aaaa\nbbbb\ncccc\ndddd\nee"},
			map[string]string{"l": "ee", "l.1": "dddd\n", "l.2": "cccc\n"}},
		{"none kept", Options{MaxBytes: 4, Backups: NoBackups}, nil, []string{"aaaa\nbbbb\ncc"}, map[string]string{"l": "cc"}},
		{"too long at the start", Options{MaxBytes: 10, Backups: 2}, map[string]string{"l": long + "\n"}, []string{"hello\n", "next\n"},
			map[string]string{"l": "next\n", "l.1": long + "\nhello\n"}},
		{"continued", Options{MaxBytes: 10, Backups: 2}, map[string]string{"l": "old\n", "l.1": "older\n"}, []string{"new\nx\nyy\nz\n"},
			map[string]string{"l": "yy\nz\n", "l.1": "old\nnew\nx\n", "l.2": "older\n"}},
		{"shift only up to the gap", Options{MaxBytes: 2, Backups: 5}, map[string]string{"l.1": "1", "l.3": "3", "l.4": "4", "l.5": "5"}, []string{"a\n"},
			map[string]string{"l": "", "l.1": "a\n", "l.2": "1", "l.3": "3", "l.4": "4", "l.5": "5"}},
		{"the oldest is dropped", Options{MaxBytes: 2, Backups: 2}, map[string]string{"l.1": "1", "l.2": "2"}, []string{"a\n"},
			map[string]string{"l": "", "l.1": "a\n", "l.2": "1"}},
	}
	for how, feed := range feeders {
		for _, tt := range tests {
			t.Run(how+"/"+tt.name, func(t *testing.T) {
				dir := t.TempDir()
				for name, s := range tt.before {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				f := open0(t, filepath.Join(dir, "l"), tt.o)
				for _, s := range tt.feed {
					feed(t, f, s)
				}
				wantFiles(t, dir, tt.want)
			})
		}
	}
}

func TestEndlessLineIsCut(t *testing.T) {
	for how, feed := range feeders {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			f := open0(t, filepath.Join(dir, "l"), Options{MaxBytes: 1000, Backups: 9})
			chunk := strings.Repeat("x", 1<<20)
			for range 3 {
				feed(t, f, chunk)
			}
			total := 0
			for name, s := range contents(t, dir) {
				total += len(s)
				if len(s) > 1000+maxOverlong {
					t.Errorf("%s has %d bytes", name, len(s))
				}
			}
			if total != 3<<20 {
				t.Errorf("%d of %d bytes are there", total, 3<<20)
			}
		})
	}
}

func TestDatedBackupsNeverCollide(t *testing.T) {
	dir := t.TempDir()
	f := open0(t, filepath.Join(dir, "l.log"), Options{MaxBytes: 2})
	at := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	f.Now = func() time.Time { return at }
	write(t, f, "a\nb\nc\nd\n")
	wantFiles(t, dir, map[string]string{
		"l.log":                         "",
		"l-2026-01-31T23-59-59.000.log": "a\n",
		"l-2026-01-31T23-59-59.001.log": "b\n",
		"l-2026-01-31T23-59-59.002.log": "c\n",
		"l-2026-01-31T23-59-59.003.log": "d\n",
	})
	if got := Backups(f.Path()); len(got) != 4 || !strings.HasSuffix(got[0], ".000.log") {
		t.Errorf("backups are %q", got)
	}
}

func TestRotationByTime(t *testing.T) {
	dir := t.TempDir()
	f := open0(t, filepath.Join(dir, "l"), Options{Backups: 3, Every: 24 * time.Hour})
	now := time.Now()
	f.Now = func() time.Time { return now }
	f.startPeriod()
	write(t, f, "a\nb")
	now = now.Add(24 * time.Hour)
	write(t, f, "b\nc\n")
	now = now.Add(time.Second)
	write(t, f, "d\n")
	now = now.Add(24 * time.Hour)
	write(t, f, "e\n")
	wantFiles(t, dir, map[string]string{"l": "e\n", "l.1": "c\nd\n", "l.2": "a\nbb\n"})
}

func TestRotationByHour(t *testing.T) {
	dir := t.TempDir()
	f := open0(t, filepath.Join(dir, "l"), Options{Backups: 3, Every: Hourly})
	now := time.Date(2026, 1, 31, 22, 59, 59, 0, time.Local)
	f.Now = func() time.Time { return now }
	f.startPeriod()
	write(t, f, "a\n")
	now = now.Add(time.Second)
	write(t, f, "b\n")
	now = now.Add(59 * time.Minute)
	write(t, f, "c\n")
	now = now.Add(time.Minute)
	write(t, f, "d\n")
	wantFiles(t, dir, map[string]string{"l": "d\n", "l.1": "b\nc\n", "l.2": "a\n"})
}

// Backups that are too old are removed by the next rotation; their age is in
// their names.
func TestMaxAge(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "l-2020-01-01T00-00-00.000.log")
	if err := os.WriteFile(old, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open0(t, filepath.Join(dir, "l.log"), Options{MaxBytes: 2, Backups: 5, MaxAgeDays: 7})
	write(t, f, "a\nb\n")
	for deadline := time.Now().Add(10 * time.Second); there(old); {
		if time.Now().After(deadline) {
			t.Fatal("the old backup is still there")
		}
	}
	if got := Backups(f.Path()); len(got) != 2 {
		t.Errorf("backups are %q", got)
	}
}

// TestOptionsChange: a reload changes how many backups are kept, and how they
// are named. What is there already stays, as with Supervisor, until its number
// is taken.
func TestOptionsChange(t *testing.T) {
	for how, feed := range feeders {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			f := open0(t, filepath.Join(dir, "l"), Options{MaxBytes: 1, Backups: 1})
			f.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC) }
			feed(t, f, "a\nb\n")
			wantFiles(t, dir, map[string]string{"l": "", "l.1": "b\n"})
			f.SetOptions(Options{MaxBytes: 1, Backups: 3})
			feed(t, f, "c\nd\n")
			wantFiles(t, dir, map[string]string{"l": "", "l.1": "d\n", "l.2": "c\n", "l.3": "b\n"})
			f.SetOptions(Options{MaxBytes: 1, Backups: 1})
			feed(t, f, "e\n")
			wantFiles(t, dir, map[string]string{"l": "", "l.1": "e\n", "l.2": "c\n", "l.3": "b\n"})
			f.SetOptions(Options{MaxBytes: 1, Backups: 1, Dated: true})
			f.SetOptions(Options{MaxBytes: 1}) // all, with dated names
			feed(t, f, "f\ng\n")
			wantFiles(t, dir, map[string]string{
				"l": "", "l.1": "e\n", "l.2": "c\n", "l.3": "b\n",
				"l-2026-01-02T03-04-05.006": "f\n", "l-2026-01-02T03-04-05.007": "g\n",
			})
			f.SetOptions(Options{MaxBytes: 4, Backups: NoBackups})
			feed(t, f, "h\ni\nj")
			f.SetOptions(Options{})
			feed(t, f, "k\nlll\n")
			if got := contents(t, dir)["l"]; got != "jk\nlll\n" {
				t.Errorf("the log holds %q", got)
			}
		})
	}
}

func TestFailedRotationGoesOnWriting(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "l.1", "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := open0(t, filepath.Join(dir, "l"), Options{MaxBytes: 2, Backups: 1})
	told := 0
	f.Trouble = func(error) { told++ }
	now := time.Now()
	f.Now = func() time.Time { return now }
	for range 3 {
		write(t, f, "a\nb\n")
		now = now.Add(2 * rotateRetry)
	}
	if b, _ := os.ReadFile(f.Path()); string(b) != "a\nb\na\nb\na\nb\n" || told != 1 {
		t.Errorf("the file is %q, trouble was told %d times", b, told)
	}
	os.RemoveAll(filepath.Join(dir, "l.1"))
	write(t, f, "c\n")
	wantFiles(t, dir, map[string]string{"l": "", "l.1": "a\nb\na\nb\na\nb\nc\n"})
}

func TestCompress(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l.log")
	f := open0(t, path, Options{MaxBytes: 2, Backups: 2, Compress: true})
	for _, s := range []string{"a\n", "b\n", "c\n", "d\n"} {
		write(t, f, s)
	}
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		got = got[:0]
		for _, b := range Backups(path) {
			r, err := OpenLog(b)
			if err != nil {
				continue
			}
			p, _ := io.ReadAll(r)
			r.Close()
			if strings.HasSuffix(b, ".gz") {
				got = append(got, string(p))
			}
		}
		if fmt.Sprint(got) == "[c\n d\n]" {
			return
		}
	}
	t.Errorf("packed backups hold %q", got)
}

func TestReopenClearCheck(t *testing.T) {
	for how, feed := range feeders {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "sub", "l")
			f := open0(t, path, Options{})
			feed(t, f, "one\n")
			os.Rename(path, path+".old")
			if err := f.Reopen(); err != nil {
				t.Fatal(err)
			}
			feed(t, f, "two\n")
			if err := f.Clear(); err != nil {
				t.Fatal(err)
			}
			feed(t, f, "three\n")
			if again, err := f.Check(); again || err != nil {
				t.Errorf("check of an unchanged file: %v, %v", again, err)
			}
			os.RemoveAll(filepath.Join(dir, "sub"))
			if again, err := f.Check(); !again || err != nil {
				t.Errorf("check of a removed file: %v, %v", again, err)
			}
			feed(t, f, "four\n")
			os.Remove(path)
			feed(t, f, "four\n") // noticed without a check
			wantFiles(t, filepath.Join(dir, "sub"), map[string]string{"l": "four\n"})
			os.Truncate(path, 0)
			feed(t, f, "five\n")
			wantFiles(t, filepath.Join(dir, "sub"), map[string]string{"l": "five\n"})
			if f.Truncations() != 1 {
				t.Errorf("%d truncations seen", f.Truncations())
			}
		})
	}
}

// TestRemovedDirectory: a directory that is gone comes back as it was; one that
// was never there belongs to whom the one around it does.
func TestRemovedDirectory(t *testing.T) {
	around := t.TempDir()
	owner := unix.Geteuid()
	if owner == 0 {
		owner = 4711
		if err := os.Chown(around, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(around, "logs")
	f := open0(t, filepath.Join(dir, "a.log"), Options{})
	check := func(mode os.FileMode) {
		t.Helper()
		fi, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != owner || fi.Mode().Perm() != mode {
			t.Errorf("the directory belongs to %d and has mode %v, want %d and %v", st.Uid, fi.Mode().Perm(), owner, mode)
		}
	}
	check(0o755)
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	write(t, f, "back\n")
	check(0o750)
	wantFiles(t, dir, map[string]string{"a.log": "back\n"})
}

func TestOddTargets(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{}); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fifo, Options{}); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a FIFO without reader: %v", err)
	}
	r, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for how, feed := range feeders {
		f := open0(t, fifo, Options{MaxBytes: 1, Backups: 1})
		feed(t, f, how)
		buf := make([]byte, 100)
		if n, err := r.Read(buf); string(buf[:n]) != how || err != nil {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		null := open0(t, "/dev/null", Options{MaxBytes: 1})
		feed(t, null, how)
		if null.Regular() {
			t.Error("/dev/null counts as regular")
		}
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	out.WriteString("before\n")
	for _, feed := range feeders {
		f := open0(t, fmt.Sprintf("/dev/fd/%d", out.Fd()), Options{MaxBytes: 1, Backups: 1})
		feed(t, f, "more\n")
	}
	if b, _ := os.ReadFile(out.Name()); string(b) != "before\nmore\nmore\n" {
		t.Errorf("an inherited file holds %q", b)
	}
}

func TestForeignSymlinkIsNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a link to another user")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	target := filepath.Join(t.TempDir(), "target")
	for _, tt := range []struct {
		uid  int
		mode os.FileMode
		ok   bool
	}{{0, 0o777, true}, {12345, 0o777, false}, {12345, 0o755, true}} {
		link := filepath.Join(dir, fmt.Sprint(tt.uid, tt.mode))
		os.Symlink(target, link)
		os.Lchown(link, tt.uid, tt.uid)
		os.Chmod(dir, tt.mode)
		f, err := Open(link, Options{})
		if (err == nil) != tt.ok {
			t.Errorf("link of user %d in a directory %v: %v", tt.uid, tt.mode, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

func TestSpliceErrors(t *testing.T) {
	r, w := pipe(t, "")
	defer unix.Close(r)
	f := open0(t, filepath.Join(t.TempDir(), "l"), Options{})
	if n, err := f.Splice(r, 100); n != 0 || err != unix.EAGAIN {
		t.Errorf("empty pipe: %d, %v", n, err)
	}
	unix.Close(w)
	if n, err := f.Splice(r, 100); n != 0 || err != io.EOF {
		t.Errorf("pipe without writers: %d, %v", n, err)
	}
}

func TestWriteToFullDisk(t *testing.T) {
	f, err := Open("/dev/full", Options{})
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	_, err = f.Write([]byte("x"))
	if !errors.Is(err, unix.ENOSPC) || err.Error() != `cannot write log "/dev/full": no space left on device` {
		t.Errorf("got %v", err)
	}
}

// FuzzFitting: whatever is written in whatever pieces, the joined files hold
// it, and no file but a too long one ends within a line.
func FuzzFitting(f *testing.F) {
	f.Add([]byte("ab\ncd\nefghi\n\n\nj"), uint8(3), uint8(2))
	f.Add([]byte("no newline at all"), uint8(1), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, limit, step uint8) {
		var files [][]byte
		var cur []byte
		for i := 0; i < len(data); {
			p := data[i:min(i+int(step)+1, len(data))]
			i += len(p)
			for len(p) > 0 {
				part, ends := fitting(p, int64(limit)-int64(len(cur)))
				if len(part) == 0 {
					t.Fatal("no progress")
				}
				cur = append(cur, part...)
				p = p[len(part):]
				if ends {
					if cur[len(cur)-1] != '\n' || len(cur) < int(limit) {
						t.Fatalf("rotated after %q with limit %d", cur, limit)
					}
					files, cur = append(files, cur), nil
				}
			}
		}
		if got := append(bytes.Join(files, nil), cur...); !bytes.Equal(got, data) {
			t.Fatalf("got %q", got)
		}
	})
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
