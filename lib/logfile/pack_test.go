package logfile

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// backups is a directory with files of these names, each with its name as content.
func backups(t *testing.T, names ...string) (string, *safepath.Dir) {
	t.Helper()
	path := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(path, name), []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := safepath.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return path, dir
}

func list(t *testing.T, dir *safepath.Dir) string {
	t.Helper()
	names, err := dir.Names()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// Backups with dates, the oldest first.
const (
	first  = "a-2026-01-01T00-00-00.000.log"
	second = "a-2026-01-02T00-00-00.000.log"
	third  = "a-2026-01-03T00-00-00.000.log"
)

func TestPack(t *testing.T) {
	path, dir := backups(t, "a.log", first, "b-2026-01-01T00-00-00.000.log", "a-no-date.log")
	packAll(dir, "a.log", 1<<20)
	want := "a-2026-01-01T00-00-00.000.log.gz a-no-date.log a.log b-2026-01-01T00-00-00.000.log"
	if got := list(t, dir); got != want {
		t.Errorf("there are %s", got)
	}
	f, err := os.Open(filepath.Join(path, first+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != first {
		t.Errorf("packed is %q (%v)", text, err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v (%v)", info.Mode(), err)
	}
}

// TestAttackPackForSomebody: what is packed in a user's directory is that user's,
// whosever file was put there as a backup.
func TestAttackPackForSomebody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other users")
	}
	root := privateRoot(t)
	path := filepath.Join(root, "dir")
	other := filepath.Join(root, "roots")
	if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(other, []byte("x"), 0o644), os.Link(other, filepath.Join(path, first)), os.Chown(path, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	dir, err := safepath.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	packAll(dir, "a.log", 1<<20)
	if st, err := dir.Lstat(first + ".gz"); err != nil || st.Uid != 65534 || st.Mode&0o777 != 0o644 {
		t.Errorf("it belongs to user %d and has mode %o (%v)", st.Uid, st.Mode, err)
	}
}

// TestPackAgain: whoever is killed while packing leaves nothing that stays, and
// nothing is lost.
func TestPackAgain(t *testing.T) {
	left := first + ".gz.packing.abcdefghijkl"
	busy := second + ".gz.packing.abcdefghijkl"
	complete := third + ".gz"
	path, dir := backups(t, first, left, second, busy, third, complete)
	// Somebody else is at work on the second.
	f, err := os.Open(filepath.Join(path, busy))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	packAll(dir, "a.log", 1<<20)
	want := []string{first + ".gz", second + ".gz", busy, third + ".gz"}
	slices.Sort(want)
	if got := list(t, dir); got != strings.Join(want, " ") {
		t.Errorf("there are %s", got)
	}
}

// TestPackWhatStillGrows: what another writer of the log has added to a backup
// while it was packed is not removed with it.
func TestPackWhatStillGrows(t *testing.T) {
	path, dir := backups(t, first)
	st, err := dir.Lstat(first)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, filepath.Join(path, first), "late\n")
	if err := removeSame(dir, first, &st); err != nil || list(t, dir) != first {
		t.Errorf("there are %s (%v)", list(t, dir), err)
	}
	if st, err = dir.Lstat(first); err != nil {
		t.Fatal(err)
	}
	if err := removeSame(dir, first, &st); err != nil || list(t, dir) != "" {
		t.Errorf("there are %s (%v)", list(t, dir), err)
	}
}

func TestPackBounds(t *testing.T) {
	_, dir := backups(t, first)
	if err := pack(dir, first, int64(len(first))-1); !errors.Is(err, errTooLarge) {
		t.Errorf("a file that is too large: %v", err)
	}
	if got := list(t, dir); got != first {
		t.Errorf("there are %s", got)
	}
}

func TestTrim(t *testing.T) {
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rules archiveRules
		want  string
	}{
		{archiveRules{backups: 2}, second + " " + second + ".gz " + third},
		{archiveRules{maxAge: 3}, second + " " + second + ".gz " + third},
		{archiveRules{maxAge: 2}, third},
		{archiveRules{backups: 1, maxAge: 100}, third},
		{archiveRules{}, first + ".gz " + second + " " + second + ".gz " + third},
	} {
		_, dir := backups(t, first+".gz", second, second+".gz", third)
		trim(dir, "a.log", c.rules, at)
		if got := list(t, dir); got != c.want {
			t.Errorf("%+v: there are %s", c.rules, got)
		}
	}
}

// TestShiftOfNothing: when a new file could not be made after the old one was put
// aside, trying again costs no backup.
func TestShiftOfNothing(t *testing.T) {
	_, dir := backups(t, "a.log.1", "a.log.2")
	if err := shift(dir, "a.log", 2); err != nil {
		t.Error(err)
	}
	if got := list(t, dir); got != "a.log.1 a.log.2" {
		t.Errorf("there are %s", got)
	}
}

// TestStrangersBackups: in a directory like /tmp a log is rotated around files of
// others, and those stay.
func TestStrangersBackups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other users")
	}
	path, dir := backups(t, "a.log.1", "a.log.3")
	dir.Close()
	if err := os.Chmod(path, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.log.1", "a.log.3"} {
		if err := os.Chown(filepath.Join(path, name), 5, 60); err != nil {
			t.Fatal(err)
		}
	}
	f := open0(t, filepath.Join(path, "a.log"), Options{MaxBytes: 2, Backups: 2})
	f.Trouble = func(err error) { t.Error(err) }
	write(t, f, "1\n2\n3\n4\n")
	for name, want := range map[string]string{"a.log": "", "a.log.1": "a.log.1", "a.log.2": "4\n", "a.log.3": "a.log.3", "a.log.4": "3\n"} {
		if got, err := os.ReadFile(filepath.Join(path, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), wanted %q", name, got, err, want)
		}
	}
}

// TestAttackLookAtBackups: where another user can put a link under the name of a
// log, or of what root's link to it leads to, looking through its backups makes
// and empties nothing through that.
func TestAttackLookAtBackups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other users")
	}
	const nobody = 65534
	for _, c := range []struct {
		name string
		uid  int
		mode os.FileMode
	}{
		{"a user's directory", nobody, 0o755},
		{"a user's sticky directory", nobody, 0o755 | os.ModeSticky},
		{"a directory of everybody", 0, 0o777},
		{"a directory like /tmp", 0, 0o777 | os.ModeSticky},
	} {
		root := privateRoot(t)
		dir, roots, made := filepath.Join(root, "dir"), filepath.Join(root, "a.log"), filepath.Join(root, "made")
		log := filepath.Join(dir, "a.log")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, c.uid, c.uid), os.Chmod(dir, c.mode),
			os.Symlink(made, log), os.Lchown(log, nobody, nobody), os.Symlink(log, roots)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{log, roots} {
			newArchive(path, &Options{MaxAgeDays: 1}).look()
			if _, err := os.Lstat(made); err == nil {
				t.Errorf("%s: a file was made through the link of %s", c.name, path)
				os.Remove(made)
			}
		}
	}
}

// privateRoot is a directory of root's, with nobody else's above it.
func privateRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "logfile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
