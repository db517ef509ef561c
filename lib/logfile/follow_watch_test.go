package logfile

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// descriptors counts the open descriptors of the process, and those among them
// that are inotify instances.
func descriptors(t *testing.T) (all, inotify int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		what, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil {
			continue
		}
		all++
		if strings.Contains(what, "inotify") {
			inotify++
		}
	}
	return all, inotify
}

// TestAttackFollowersTakeAllInstances: a user has 128 inotify instances on most
// systems, and root's are those of all its daemons.
func TestAttackFollowersTakeAllInstances(t *testing.T) {
	dir := t.TempDir()
	before, _ := descriptors(t)
	const followers = 200
	ctx, cancel := context.WithCancel(t.Context())
	var reading, ended sync.WaitGroup
	for i := range followers {
		path := filepath.Join(dir, string(rune('a'+i%20)))
		if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		reading.Add(1)
		var first sync.Once
		ended.Go(func() {
			_ = Follow(ctx, path, 0, func([]byte) error { first.Do(reading.Done); return nil }, nil)
		})
	}
	reading.Wait()
	all, inotify := descriptors(t)
	if inotify > 1 || all-before > 2*followers {
		t.Errorf("%d followers have %d descriptors and %d inotify instances", followers, all-before, inotify)
	}
	cancel()
	ended.Wait()
}

// TestFollowRenamed follows a log that is renamed, and written to before there is a
// new one: its watch ends with the name, and the follower must watch it again.
func TestFollowRenamed(t *testing.T) {
	path := tempLog(t, "")
	f := follow(t, path, 0)
	want := ""
	begun := time.Now()
	const rotations = 5
	for range rotations {
		for _, line := range []string{"a\n", "b\n"} {
			want += line
			appendTo(t, path, line)
			f.wait(want)
		}
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"c\n", "d\n"} {
			want += line
			appendTo(t, path+".1", line)
			f.wait(want)
		}
	}
	if took := time.Since(begun); took > rotations*followCheck {
		t.Errorf("%d rotations took %v", rotations, took)
	}
}

// TestFollowWithoutWatches follows a log where the system has no inotify
// instance left.
func TestFollowWithoutWatches(t *testing.T) {
	const limit = "/proc/sys/user/max_inotify_instances"
	const inside = "SUP_TEST_WITHOUT_WATCHES"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFollowWithoutWatches$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if _, ran := err.(*exec.ExitError); err != nil && !ran {
			t.Skipf("needs user namespaces: %v", err)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile(limit, []byte("0"), 0o600); err != nil {
		t.Skipf("cannot take the instances away: %v", err)
	}
	path := tempLog(t, "old\n")
	f := follow(t, path, -4)
	f.wait("old\n")
	begun := time.Now()
	appendTo(t, path, "new\n")
	f.wait("old\nnew\n")
	os.Rename(path, path+".1")
	appendTo(t, path, "next\n")
	f.wait("old\nnew\nnext\n")
	if _, inotify := descriptors(t); inotify > 0 {
		t.Error("there was an instance all the same")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
