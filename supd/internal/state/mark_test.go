package state

import (
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMarks(t *testing.T) {
	id, other := NewIdentity(), NewIdentity()
	for _, process := range []string{"web", "group:name", "a:b:c", "x:1:" + strings.Repeat("0", codeLen)} {
		for _, run := range []int64{1, 1 << 31, 1<<63 - 1} {
			mark := id.Mark(process, run)
			if m := ParseMark(mark); m.Process != process || m.Run != run || m.Instance != id.Instance || m.Old() {
				t.Errorf("%s is read as %+v", mark, m)
			}
			if !id.Proves(mark) || other.Proves(mark) {
				t.Errorf("%s: proved by its own identity: %v, by another: %v", mark, id.Proves(mark), other.Proves(mark))
			}
		}
	}
	mark := id.Mark("web", 7)
	code := mark[len(mark)-codeLen:]
	for _, forged := range []string{
		"", ":", "::::", "web", id.Instance, id.Instance + ":web:7", id.Instance + ":web:7:", mark + "0", mark[:len(mark)-1],
		id.Instance + ":web:8:" + code, id.Instance + ":we:7:" + code, id.Instance + ":web:07:" + code, id.Instance + ":web:-7:" + code,
		other.Instance + ":web:7:" + code, strings.ToUpper(mark), id.Instance + ":web:7:" + strings.Repeat("0", codeLen),
		id.Instance + ":web:9223372036854775808:" + code, OldInstance("/run/supd.pid.state") + ":web:7",
		(&Identity{Instance: id.Instance}).Mark("web", 7), // the right instance, and no key
	} {
		if id.Proves(forged) {
			t.Errorf("%q is taken for a mark of ours", forged)
		}
	}
	if m := ParseMark("0123456789ab:group:name:12"); m.Process != "group:name" || m.Run != 12 || !m.Old() {
		t.Errorf("a mark of before is read as %+v", m)
	}
}

func FuzzMark(f *testing.F) {
	id := NewIdentity()
	f.Add(id.Mark("web", 7))
	f.Add("0123456789ab:group:name:12")
	f.Add("::1:")
	f.Fuzz(func(t *testing.T, text string) {
		m := ParseMark(text)
		if m.Run < 0 || m.Run == 0 && m != (Marked{}) || m.Run > 0 && m.Process == "" {
			t.Errorf("%q is read as %+v", text, m)
		}
		if id.Proves(text) && id.Mark(m.Process, m.Run) != text {
			t.Errorf("%q is proved, and is none that we make", text)
		}
	})
}

func FuzzSecret(f *testing.F) {
	f.Add(NewIdentity().Secret())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := ParseSecret(text); ok && !strings.EqualFold(id.Secret(), text) {
			t.Errorf("%q is read as %q", text, id.Secret())
		}
	})
}

func FuzzMarkIn(f *testing.F) {
	f.Add([]byte("A=1\x00SUPD_RUN=x:y:1\x00B="), "x:y:1")
	f.Add([]byte("XSUPD_RUN=x"), "")
	f.Fuzz(func(t *testing.T, environ []byte, _ string) {
		want := ""
		for kv := range strings.SplitSeq(string(environ), "\x00") {
			if value, ok := strings.CutPrefix(kv, MarkVar+"="); ok {
				want = value
				break
			}
		}
		if got := markIn(environ); got != want {
			t.Errorf("%q: %q, not %q", environ, got, want)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte("Name:\tx\nUid:\t1\t2\t3\t4\nNSpid:\t7\n"))
	f.Add([]byte("Uid:\t4294967295\t0\t0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseCredentials(text); err == nil && (c.real < 0 || c.effective < 0 || c.saved < 0) {
			t.Errorf("%q is read as %+v", text, c)
		}
		inNamespace(text, os.Getpid())
	})
}

// The identity stays with the directory.
func TestIdentityIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.state")
	secret := func() string {
		t.Helper()
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		return d.Identity().Secret()
	}
	first := secret()
	if again := secret(); again != first {
		t.Error("another identity at the second start")
	}
	key := filepath.Join(path, keyName)
	if fi, err := os.Stat(key); err != nil || fi.Mode() != 0o600 {
		t.Errorf("the key has mode %v (%v)", fi.Mode(), err)
	}
	// A key that others could read proves nothing.
	for name, spoil := range map[string]func() error{
		"readable by its group": func() error { return os.Chmod(key, 0o640) },
		"truncated":             func() error { return os.Truncate(key, 20) },
		"a link": func() error {
			if err := os.Rename(key, key+".real"); err != nil {
				return err
			}
			return os.Symlink(key+".real", key)
		},
		"hard linked": func() error { return os.Link(key, filepath.Join(filepath.Dir(path), "link")) },
		"foreign": func() error {
			if os.Getuid() != 0 {
				return os.Truncate(key, 0)
			}
			return os.Chown(key, 65534, 65534)
		},
	} {
		before := secret()
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if d.Identity().Secret() == before || len(d.Notes()) == 0 {
			t.Errorf("%s: used all the same, notes %q", name, d.Notes())
		}
		d.Close()
	}
}

// What others could have written is not read.
func TestAttackForeignFiles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	path := filepath.Join(t.TempDir(), "x.state")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(snapshot()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(path, stateName)
	if err := os.Chown(file, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Load(); s != nil || err == nil {
		t.Errorf("a state of nobody's is read: %v, %v", s, err)
	}
	if err := d.Save(snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Load(); s != nil || err == nil {
		t.Errorf("a state that everybody can write is read: %v, %v", s, err)
	}
	d.Close()
	lock := filepath.Join(path, lockName)
	if err := os.Rename(lock, lock+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(lock+".real", lock); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(path); err == nil {
		t.Error("a lock that is a link is used")
		d.Close()
	}
}

// A directory that is exchanged after it was opened is still the one that is used.
func TestAttackDirectoryExchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.state")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	evil, real := path+".evil", path+".real"
	if err := os.Mkdir(evil, 0o700); err != nil {
		t.Fatal(err)
	}
	text, _ := (&Snapshot{Head: Head{Version: Version, BootID: BootID(), Instance: "evil"}}).Append(nil)
	if err := os.WriteFile(filepath.Join(evil, stateName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(evil, path); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Load(); s != nil || err != nil {
		t.Errorf("loaded %v, %v", s, err)
	}
	if err := d.Save(snapshot()); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Load(); err != nil || s == nil || s.Instance != "abc" {
		t.Errorf("loaded %v, %v", s, err)
	}
	if _, err := os.Stat(filepath.Join(real, stateName)); err != nil {
		t.Error(err)
	}
	fd, err := unix.Open(d.Socket(), unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if _, err := os.Stat(filepath.Join(real, socketName)); err != nil {
		t.Error(err)
	}
	if other, err := Open(path); err == nil {
		t.Error("a link is taken for a state directory")
		other.Close()
	}
}

// An owner of a lock tells where its pid means something.
func TestOwners(t *testing.T) {
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ours := ownLife()
	ours.sign(lock)
	if got := readOwner(lock); got != ours || !got.maybeHere() || got.elsewhere(lock) {
		t.Errorf("wrote %+v, read %+v", ours, got)
	}
	for _, there := range []owner{
		{ours.pid, "other", ours.pidNS}, {ours.pid, ours.bootID, "pid:[1]@7"}, {ours.pid, ours.bootID, ours.pidNS + "0"},
	} {
		there.sign(lock)
		if got := readOwner(lock); got.maybeHere() || !got.elsewhere(lock) {
			t.Errorf("%+v counts as one of here", there)
		}
	}
	// One that knew of the beginning only.
	if _, err := lock.WriteAt([]byte("4711"+strings.Repeat(" ", 27)+"\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := readOwner(lock); got != (owner{pid: 4711}) {
		t.Errorf("read %+v", got)
	}
}

// Whoever holds a lock and does not say where he lives is looked for among the locks
// that the kernel shows.
func TestLockHeldElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(file, []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	held := func(words ...string) bool {
		t.Helper()
		cmd := exec.Command(words[0], append(words[1:], "flock", "-x", file, "sh", "-c", "echo held; exec cat")...)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Skip(err)
		}
		defer func() {
			in.Close()
			_ = cmd.Wait()
		}()
		text := make([]byte, 5)
		if _, err := io.ReadFull(out, text); err != nil {
			t.Skip("namespaces, or flock(1), cannot be had here: ", err)
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Fatalf("the lock is not held: %v", err)
		}
		return readOwner(lock).elsewhere(lock)
	}
	if held("env") {
		t.Error("a process of our namespace is taken for one of another")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may make namespaces")
	}
	if !held("unshare", "--pid", "--fork", "--mount-proc") {
		t.Error("a process of a namespace below is taken for one of ours")
	}
}

// The state is found wherever an earlier daemon had to keep it, also when it could
// lie beside the pid file by now; after an orderly end it does.
func TestPlaceChanges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give directories away")
	}
	app := t.TempDir()
	pidfile := filepath.Join(app, "place-"+rand.Text()+".pid")
	t.Cleanup(func() {
		for _, path := range places(pidfile) {
			os.RemoveAll(path)
		}
	})
	own := func(uid int) {
		t.Helper()
		if err := os.Chown(app, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	opened := func(want string) *Dir {
		t.Helper()
		d, err := OpenFor(pidfile)
		if err != nil {
			t.Fatal(err)
		}
		if d.Path() != want {
			t.Fatalf("the state is kept in %s, not in %s", d.Path(), want)
		}
		return d
	}
	own(65534)
	d := opened(places(pidfile)[0])
	if err := d.Save(snapshot()); err != nil {
		t.Fatal(err)
	}
	d.Close()
	own(0)
	d = opened(places(pidfile)[0])
	if !d.Abandoned() {
		t.Error("nothing would be taken over")
	}
	if err := d.Forget(); err != nil {
		t.Fatal(err)
	}
	d.Close()
	d = opened(besideOf(pidfile))
	saved := snapshot()
	saved.Dir = d.Path()
	if err := d.Save(saved); err != nil {
		t.Fatal(err)
	}
	d.Close()
	// And the other way round.
	own(65534)
	opened(besideOf(pidfile)).Close()
	// Unless it says that it is that of another place.
	d = opened(besideOf(pidfile))
	saved.Dir = "/elsewhere"
	if err := d.Save(saved); err != nil {
		t.Fatal(err)
	}
	d.Close()
	opened(places(pidfile)[0]).Close()
}
