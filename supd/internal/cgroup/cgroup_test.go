package cgroup

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
)

func TestFind(t *testing.T) {
	const unified = "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	const hybrid = "11 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n21 41 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct{ name, groups, mounts, want string }{
		{"unified", "0::/system.slice/supd.service\n", unified, "/sys/fs/cgroup/system.slice/supd.service"},
		{"hybrid", "9:name=systemd:/a\n1:cpu:/b\n0::/\n", hybrid, "/sys/fs/cgroup/unified"},
		{"version 1 only", "1:cpu:/b\n", hybrid, ""},
		{"not mounted", "0::/a\n", hybrid[:50], ""},
		{"a part of it", "0::/a/b\n", "1 2 0:3 /a /c\\040d rw - cgroup2 none rw\n", "/c d/b"},
		{"another part of it", "0::/ab\n", "1 2 0:3 /a /c rw - cgroup2 none rw\n", ""},
		{"outside of the namespace", "0::/../x\n", unified, ""},
		{"nothing", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := find(tt.groups, tt.mounts); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestKill has a process in a group below the group.
func TestKill(t *testing.T) {
	groups := New()
	prefix := fmt.Sprintf("sup-test%d-", os.Getpid())
	name := prefix + "1"
	if base := groups.base(); base != "" {
		_ = os.Mkdir(base+"/"+prefix+"0", 0o755)
	}
	f, err := groups.Make(name)
	if err == ErrNone {
		t.Skip("there is no cgroup v2 that may be written to")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := os.Stat(groups.Group(prefix + "0").dir); !os.IsNotExist(err) {
		t.Errorf("what was left before is still there: %v", err)
	}
	group := groups.Group(name)
	if group.Populated() {
		t.Error("a new group has processes")
	}
	below, err := groups.Make(name + "/below")
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	pid, err := spawn.Helper(&spawn.Command{
		Name: "sleep", Path: "/bin/sleep", Argv: []string{"sleep", "1000"}, Umask: -1, UID: -1, Cgroup: below,
	})
	if err != nil {
		t.Fatal(err)
	}
	groups.RemoveEmpty()
	if !group.Populated() {
		t.Error("the group has no processes")
	}
	if err := group.Kill(); err != nil {
		t.Error(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("the process ended with %v, %v", status, err)
	}
	groups.RemoveEmpty()
	if _, err := os.Stat(group.dir); !os.IsNotExist(err) {
		t.Errorf("the group is still there: %v", err)
	}
	if group.Populated() || group.Kill() == nil {
		t.Error("a group that is gone has processes")
	}
}

func TestNone(t *testing.T) {
	none := Groups{looked: true}
	if _, err := none.Make("x"); err != ErrNone {
		t.Error(err)
	}
	none.RemoveEmpty()
	c := none.Group("x")
	c.Remove()
	if c.Populated() || c.Kill() != ErrNone {
		t.Error("what is not there has processes")
	}
}
