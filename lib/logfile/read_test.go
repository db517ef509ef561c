package logfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func tempLog(t *testing.T, s string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foo.log")
	if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	path := tempLog(t, "0123456789")
	for _, tt := range []struct {
		offset, length int64
		want           string
		err            error
	}{
		{0, 0, "0123456789", nil}, {4, 0, "456789", nil}, {10, 0, "", nil}, {99, 0, "", nil},
		{0, 3, "012", nil}, {8, 5, "89", nil}, {99, 5, "", nil},
		{0, -1, "", ErrRange}, {-1, 1, "", ErrRange}, {-1, -1, "", ErrRange},
		{-3, 0, "789", nil}, {-99, 0, "0123456789", nil}, {-1 << 63, 0, "0123456789", nil},
		{1<<63 - 1, 1<<63 - 1, "", nil},
	} {
		got, err := Read(path, tt.offset, tt.length)
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Read(%d, %d) = %q, %v, want %q, %v", tt.offset, tt.length, got, err, tt.want, tt.err)
		}
	}
	if _, err := Read(path+"x", 0, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Read("/dev/null", 0, 0); !errors.Is(err, ErrNoFile) {
		t.Errorf("a device: %v", err)
	}
}

func TestTail(t *testing.T) {
	path := tempLog(t, "abcdefghijklmnopqrst") // 20 bytes
	for _, tt := range []struct {
		offset, length int64
		want           string
		overflow       bool
	}{
		{0, 5, "pqrst", true}, {14, 5, "pqrst", true}, {15, 5, "pqrst", false}, {18, 5, "pqrst", false},
		{0, 100, "abcdefghijklmnopqrst", false}, {20, 5, "", false}, {99, 5, "", false},
		{0, 0, "", true}, {0, -5, "", true}, {20, 0, "", false}, {-5, 3, "rst", true},
		{20, -1, "", true}, {99, -80, "", true}, {100, -80, "", false}, {0, math.MinInt64, "", true},
	} {
		got, size, overflow, err := Tail(path, tt.offset, tt.length)
		if string(got) != tt.want || size != 20 || overflow != tt.overflow || err != nil {
			t.Errorf("Tail(%d, %d) = %q, %d, %v, %v, want %q, %v", tt.offset, tt.length, got, size, overflow, err, tt.want, tt.overflow)
		}
	}
	if got, size, overflow, err := Tail(path+"x", 0, 5); len(got) != 0 || size != 0 || overflow || err == nil {
		t.Errorf("a missing file: %q, %d, %v, %v", got, size, overflow, err)
	}
}

func TestTailOfSparseGiant(t *testing.T) {
	path := tempLog(t, "")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const at = 8 << 30
	if _, err := f.WriteAt([]byte("the end\n"), at); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	got, size, _, err := Tail(path, 0, 8)
	if string(got) != "the end\n" || size != at+8 || err != nil {
		t.Errorf("got %q, %d, %v", got, size, err)
	}
	if got, err := Read(path, at, 100); string(got) != "the end\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLastLines(t *testing.T) {
	path := tempLog(t, "seven\neight\npartial")
	for name, s := range map[string]string{".1": "four\nfive\nsix\n", ".2.gz": "one\ntwo\nthree\n", ".x": "no backup\n", ".01": "no\n"} {
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write([]byte(s))
			z.Close()
			s = b.String()
		}
		os.WriteFile(path+name, []byte(s), 0o644)
	}
	all := []string{"one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n", "eight\n", "partial"}
	for n := range 12 {
		spans, err := LastLines(path, n)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		end, err := Copy(&got, spans)
		if want := strings.Join(all[max(len(all)-n, 0):], ""); got.String() != want || err != nil || end != 19 {
			t.Errorf("last %d lines: %q, %d, %v, want %q", n, &got, end, err, want)
		}
	}
	big := tempLog(t, strings.Repeat("0123456789abcde\n", 20<<10))
	spans, err := LastLines(big, 10000)
	if err != nil || len(spans) != 1 || spans[0].Offset != (20<<10-10000)*16 {
		t.Errorf("got %v, %v", spans, err)
	}
}

// following runs Follow and collects what it emits.
type following struct {
	t    *testing.T
	got  chan string
	have string
	done chan error
	stop context.CancelFunc
}

func follow(t *testing.T, path string, from int64) *following {
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{t: t, got: make(chan string, 1000), done: make(chan error, 1), stop: cancel}
	go func() {
		f.done <- Follow(ctx, path, from,
			func(p []byte) error { f.got <- string(p); return nil },
			func() error { f.got <- "<cut>"; return nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-f.done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ends with %v", err)
		}
	})
	return f
}

// wait waits until all that was emitted is want.
func (f *following) wait(want string) {
	f.t.Helper()
	timeout := time.After(10 * time.Second)
	for f.have != want {
		if !strings.HasPrefix(want, f.have) {
			f.t.Fatalf("emitted %q, want %q", f.have, want)
		}
		select {
		case s := <-f.got:
			f.have += s
		case <-timeout:
			f.t.Fatalf("emitted %q, want %q", f.have, want)
		}
	}
}

func appendTo(t *testing.T, path, s string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	path := tempLog(t, "old line\nlast\n")
	f := follow(t, path, -5)
	f.wait("last\n")
	appendTo(t, path, "a\n")
	f.wait("last\na\n")
	// Rotation, with a last word in the old file.
	os.Rename(path, path+".1")
	appendTo(t, path+".1", "b\n")
	appendTo(t, path, "c\n")
	f.wait("last\na\nb\nc\n")
	appendTo(t, path, "d\n")
	f.wait("last\na\nb\nc\nd\n")
	os.Truncate(path, 0)
	f.wait("last\na\nb\nc\nd\n<cut>")
	appendTo(t, path, "e\n")
	f.wait("last\na\nb\nc\nd\n<cut>e\n")
	// Removed, and there again.
	os.Remove(path)
	appendTo(t, path, "f\n")
	f.wait("last\na\nb\nc\nd\n<cut>e\nf\n")
	// Replaced by another file.
	appendTo(t, path+".new", "g\n")
	os.Rename(path+".new", path)
	f.wait("last\na\nb\nc\nd\n<cut>e\nf\ng\n")
}

func TestFollowWaitsForTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "foo.log")
	f := follow(t, path, 0)
	appendTo(t, path, "here\n")
	f.wait("here\n")
}

// TestFollowThroughRotations: a follower that falls behind by several
// rotations sees each line once.
func TestFollowThroughRotations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "foo.log")
	w, err := Open(path, Options{MaxBytes: 500, Backups: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f := follow(t, path, 0)
	want := "begin\n"
	appendTo(t, path, want)
	f.wait(want)
	for i := range 20 {
		for j := range 50 * i {
			line := fmt.Sprintf("line %d of %d\n", j, i)
			want += line
			if _, err := w.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		f.wait(want)
	}
}
