package unixsock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// TestAttackRightsForAMoment watches a directory while sockets are made in it,
// with a umask that takes nothing away, by a process that gives them away: no
// look may see more rights than the configuration gives.
func TestAttackRightsForAMoment(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Path: filepath.Join(dir, "s"), Mode: 0o660, UID: -1, GID: -1, Backlog: 1}
	if os.Geteuid() == 0 {
		spec.UID, spec.GID = 65534, 65533
	}
	old := unix.Umask(0)
	defer unix.Umask(old)
	var stop atomic.Bool
	var wg sync.WaitGroup
	looks := 0
	wg.Go(func() {
		d, err := os.Open(dir)
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		for !stop.Load() {
			d.Seek(0, 0)
			names, _ := d.Readdirnames(-1)
			for _, name := range names {
				var st unix.Stat_t
				if unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
					continue
				}
				looks++
				given := int(st.Uid) == spec.UID && int(st.Gid) == spec.GID || spec.UID < 0
				mode := st.Mode & 0o777
				if name == "s" && (!given || mode != uint32(spec.Mode)) || !given && mode != 0 || mode&^uint32(spec.Mode) != 0 {
					t.Errorf("%s has mode %o, owner %d:%d", name, mode, st.Uid, st.Gid)
					return
				}
			}
		}
	})
	for range 300 {
		made, err := Listen(spec)
		if err != nil {
			t.Error(err)
			break
		}
		unix.Close(made.FD)
		if made.ID.Ino%2 == 0 { // now and then there is nothing to replace
			if err := Remove(spec.Path, made.ID); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	if names, _ := filepath.Glob(dir + "/.sup*"); len(names) > 0 || looks == 0 {
		t.Errorf("%d looks, left %v", looks, names)
	}
}

// TestSocketInADirectoryOfSomebody: the socket of root's daemon is root's there,
// too, and not the directory's owner's.
func TestSocketInADirectoryOfSomebody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Path: filepath.Join(dir, "s"), Mode: 0o700, UID: -1, GID: -1, Backlog: 1}
	for _, gid := range []int{0, 65533} {
		if gid != 0 { // a directory that passes its group on
			if err := os.Chown(dir, 65534, gid); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o755|os.ModeSetgid); err != nil {
				t.Fatal(err)
			}
		}
		made, err := Listen(spec)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(spec.Path, &st); err != nil || st.Uid != 0 || int(st.Gid) != gid || st.Mode&0o777 != 0o700 || idOf(&st) != made.ID {
			t.Errorf("%v: owner %d:%d, mode %o", err, st.Uid, st.Gid, st.Mode)
		}
		unix.Close(made.FD)
	}
}

// TestRefusedSocket names the path that was asked for, and no temporary one.
func TestRefusedSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	home := t.TempDir()
	spec := Spec{Path: filepath.Join(home, "roots", "s"), Mode: 0o700, UID: -1, GID: -1, Backlog: 1}
	if err := errors.Join(os.Mkdir(filepath.Dir(spec.Path), 0o755), os.Chown(home, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(spec)
	if err == nil || !strings.HasPrefix(err.Error(), `cannot use "`+spec.Path+`": `+spec.Path+" is not permitted to user nobody") {
		t.Error(err)
	}
	if err := safepath.Replace(spec.Path, nil, 0o644); err == nil || !strings.HasPrefix(err.Error(), `cannot use "`+spec.Path+`": `+spec.Path+" is not permitted") {
		t.Error(err)
	}
}

// TestSocketThatWasGivenAway is made and replaced in a directory like /tmp.
func TestSocketThatWasGivenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Path: filepath.Join(dir, "s"), Mode: 0o600, UID: 65534, GID: 65534, Backlog: 1}
	for range 3 {
		made, err := Listen(spec)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(made.FD)
		if id, err := Adjust(spec, made.ID); err != nil || id != made.ID {
			t.Errorf("%v, %v", id, err)
		}
	}
}

// TestPlainFile: only one that nobody but us can have put there is replaced.
func TestPlainFile(t *testing.T) {
	for _, test := range []struct {
		name     string
		mode     os.FileMode // of the directory
		links    int
		replaced bool
	}{
		{"ours", 0o755, 1, true},
		{"with another name", 0o755, 2, false},
		{"in a directory of everybody", 0o777, 1, false},
		{"in a directory like /tmp", 0o777 | os.ModeSticky, 1, false},
	} {
		dir := t.TempDir()
		spec := Spec{Path: filepath.Join(dir, "s"), Mode: 0o600, UID: -1, GID: -1, Backlog: 1}
		if err := os.WriteFile(spec.Path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < test.links; i++ {
			if err := os.Link(spec.Path, filepath.Join(dir, "other")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, test.mode); err != nil {
			t.Fatal(err)
		}
		made, err := Listen(spec)
		if test.replaced != (err == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil {
			unix.Close(made.FD)
		} else if text, rerr := os.ReadFile(spec.Path); rerr != nil || string(text) != "x" {
			t.Errorf("%s: %q, %v", test.name, text, rerr)
		}
	}
}

func TestAdjustNeedsOurSocket(t *testing.T) {
	spec := Spec{Path: filepath.Join(t.TempDir(), "s"), Mode: 0o600, UID: -1, GID: -1, Backlog: 1}
	made, err := Listen(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(made.FD)
	if id, err := Adjust(spec, made.ID); err != nil || id != made.ID {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := Adjust(spec, ID{made.ID.Dev, made.ID.Ino + 1}); err != ErrNotOurs {
		t.Errorf("another socket: %v", err)
	}
	if err := os.Link(spec.Path, spec.Path+"-link"); err != nil {
		t.Fatal(err)
	}
	if _, err := Adjust(spec, made.ID); err != ErrNotOurs {
		t.Errorf("with a second name: %v", err)
	}
	if err := Remove(spec.Path, ID{made.ID.Dev, made.ID.Ino + 1}); err != ErrNotOurs {
		t.Errorf("removed another socket: %v", err)
	}
	long := spec
	long.Path = "/tmp/" + strings.Repeat("x", 120)
	if _, err := Listen(long); err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
		t.Error(err)
	}
}
