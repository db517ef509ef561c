package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"sup/lib/logfile"
)

// writeLog makes a log of numbered lines, spread over a compressed backup, a
// plain one and the log itself. Lines divisible by 10 say "ten", and every
// other line has a time stamp, a second apart.
func writeLog(t *testing.T, sizes [3]int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.log")
	n := 0
	lines := func(count int) []byte {
		var b bytes.Buffer
		for range count {
			n++
			if n%2 == 0 {
				b.WriteString(lineTime(n).Format("2006-01-02 15:04:05 "))
			}
			fmt.Fprintf(&b, "line %d", n)
			if n%10 == 0 {
				b.WriteString(" ten")
			}
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(lines(sizes[0]))
	z.Close()
	for name, text := range map[string][]byte{path + ".2.gz": packed.Bytes()} {
		writeFile(t, name, text)
	}
	writeFile(t, path+".1", lines(sizes[1]))
	writeFile(t, path, lines(sizes[2]))
	return path
}

func lineTime(n int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local).Add(time.Duration(n) * time.Second)
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// numbers prints what a query finds, as the numbers of the lines.
func numbers(t *testing.T, path string, q query) []int {
	t.Helper()
	spans, err := find(path, q)
	if err != nil {
		t.Fatal(err)
	}
	if last := spans[len(spans)-1]; last.Path != path {
		t.Fatalf("the last part is of %s", last.Path)
	}
	var b bytes.Buffer
	p := newPrinter(&output{w: &b}, q)
	if _, err := logfile.Copy(p, spans); err != nil {
		t.Fatal(err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		n := 0
		if i := strings.Index(line, "line "); i >= 0 {
			fmt.Sscanf(line[i:], "line %d", &n)
		}
		if line != "" {
			found = append(found, n)
		}
	}
	return found
}

func TestFind(t *testing.T) {
	ten, nothing := regexp.MustCompile("ten$"), regexp.MustCompile("nothing")
	for _, sizes := range [][3]int{{40, 40, 40}, {0, 0, 120}, {120, 0, 0}, {100, 19, 1}, {3, 117, 0}} {
		path := writeLog(t, sizes)
		for _, tt := range []struct {
			query
			first, step, last int
		}{
			{query{lines: 0}, 0, 1, 0},
			{query{lines: 1}, 120, 1, 120},
			{query{lines: 50}, 71, 1, 120},
			{query{lines: 100}, 21, 1, 120},
			{query{lines: 1000}, 1, 1, 120},
			{query{lines: allLines}, 1, 1, 120},
			{query{lines: allLines, grep: ten}, 10, 10, 120},
			{query{lines: 1, grep: ten}, 120, 10, 120},
			{query{lines: 7, grep: ten}, 60, 10, 120},
			{query{lines: 10, grep: ten}, 30, 10, 120},
			{query{lines: 12, grep: ten}, 10, 10, 120},
			{query{lines: 100, grep: ten}, 10, 10, 120},
			{query{lines: 5, grep: nothing}, 0, 1, 0},
			{query{lines: allLines, grep: nothing}, 0, 1, 0},
			{query{lines: allLines, since: lineTime(119)}, 120, 1, 120},
			{query{lines: allLines, since: lineTime(70)}, 70, 1, 120},
			{query{lines: allLines, since: lineTime(30)}, 30, 1, 120},
			{query{lines: allLines, since: lineTime(-100)}, 1, 1, 120},
			{query{lines: allLines, since: lineTime(500)}, 0, 1, 0},
			{query{lines: allLines, since: lineTime(55), grep: ten}, 60, 10, 120},
			{query{lines: 3, since: lineTime(55), grep: ten}, 100, 10, 120},
			{query{lines: 50, since: lineTime(55), grep: ten}, 60, 10, 120},
			{query{lines: 8, since: lineTime(20)}, 113, 1, 120},
		} {
			var want []int
			for n := tt.first; n > 0 && n <= tt.last; n += tt.step {
				want = append(want, n)
			}
			if got := numbers(t, path, tt.query); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sizes %v, query %+v:\ngot  %v\nwant %v", sizes, tt.query, got, want)
			}
		}
	}
}

func TestFindMissing(t *testing.T) {
	if _, err := find(filepath.Join(t.TempDir(), "none"), query{lines: 3, grep: regexp.MustCompile("x")}); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

// A backup last written before the time asked for is not even read.
func TestFindSkipsOldFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	writeFile(t, path+".1", []byte("old\n"))
	writeFile(t, path, []byte("new\n"))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path+".1", old, old); err != nil {
		t.Fatal(err)
	}
	spans, err := find(path, query{lines: allLines, since: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := logfile.Copy(&b, spans); err != nil || b.String() != "new\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestLinesBackward(t *testing.T) {
	long := strings.Repeat("y", 200<<10)
	for _, text := range []string{"", "\n", "a", "a\n", "a\nb", "\n\na\n", "x\n" + long + "\nz\n" + long, long} {
		var got []string
		at := int64(len(text))
		err := linesBackward(strings.NewReader(text), int64(len(text)), func(offset int64, line []byte) bool {
			end := strings.TrimSuffix(text[offset:at], "\n")
			if string(line) != end {
				t.Errorf("at %d: %.40q, want %.40q", offset, line, end)
			}
			at = offset
			got = append([]string{string(line)}, got...)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(text, "\n")
		if strings.Join(got, "\n") != want {
			t.Errorf("%.40q: got %.40q", text, got)
		}
	}
}

// TestGiant: a log of ten gigabytes costs no more memory than a small one, and
// no time where only its end is wanted. It begins with a line that is nearly
// all of it, which has to be read where it may matter.
func TestGiant(t *testing.T) {
	const size = 10 << 30
	path := filepath.Join(t.TempDir(), "a.log")
	var end strings.Builder
	now := time.Now()
	for i := range 100 {
		fmt.Fprintf(&end, "\n%s row %d", now.Add(time.Duration(i-100)*time.Minute).Format(time.RFC3339), i)
	}
	end.WriteString("\n")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(end.String()), size); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, tt := range []struct {
		query
		want int
	}{
		{query{lines: 10}, 10},
		{query{lines: allLines, since: now.Add(-30*time.Minute - time.Second)}, 30},
		{query{lines: 5, grep: regexp.MustCompile("row .5$")}, 5},
	} {
		var b bytes.Buffer
		p := newPrinter(&output{w: &b}, tt.query)
		if err := (localLog{path}).show(t.Context(), tt.query, p); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "\n"); got != tt.want {
			t.Errorf("%+v: %d lines, want %d: %.200q", tt.query, got, tt.want, b.String())
		}
	}
	// Far back into the long line: as much as a test has time for.
	read := int64(0)
	bounded := section{f, func(n int) error {
		if read += int64(n); read > 64<<20 {
			return errors.New("enough")
		}
		return nil
	}}
	if err := linesBackward(bounded, size, func(int64, []byte) bool { return true }); err == nil {
		t.Error("it was read to the end")
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// section reads a file until told otherwise.
type section struct {
	io.ReaderAt
	read func(n int) error
}

func (s section) ReadAt(p []byte, at int64) (int, error) {
	if err := s.read(len(p)); err != nil {
		return 0, err
	}
	return s.ReaderAt.ReadAt(p, at)
}

// TestLongestLine: of a line that is longer than longestLine the beginning is
// seen, whichever way the blocks lie.
func TestLongestLine(t *testing.T) {
	for _, n := range []int{longestLine - 1, longestLine, longestLine + 1, 3*longestLine + 70000} {
		text := "begin" + strings.Repeat("y", n) + "\nlast\n"
		var got []string
		err := linesBackward(strings.NewReader(text), int64(len(text)), func(_ int64, line []byte) bool {
			got = append(got, string(line))
			return true
		})
		if err != nil || len(got) != 2 || got[0] != "last" || !strings.HasPrefix(text, got[1]) || len(got[1]) != min(n+5, longestLine) {
			t.Errorf("%d: %v, %d lines, the long one has %d bytes", n, err, len(got), len(got[len(got)-1]))
		}
	}
}

// TestBrokenBackup: what cannot be read of a packed backup does not keep the
// rest from being shown.
func TestBrokenBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for i := range 5000 {
		fmt.Fprintln(z, "old", i)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path+".3.gz", []byte("no gzip at all"))
	writeFile(t, path+".2.gz", packed.Bytes()[:packed.Len()/2])
	writeFile(t, path+".1", []byte("newer\n"))
	writeFile(t, path, []byte("newest\n"))
	for _, q := range []query{{lines: allLines}, {lines: allLines, grep: regexp.MustCompile("e")}} {
		var b bytes.Buffer
		p := newPrinter(&output{w: &b}, q)
		if err := (localLog{path}).show(t.Context(), q, p); err != nil || !strings.HasSuffix(b.String(), "newer\nnewest\n") {
			t.Errorf("%+v: %v, %d bytes, ending with %.40q", q, err, b.Len(), b.String()[max(b.Len()-40, 0):])
		}
	}
}
