package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
	"sup/supd/internal/state"
)

const nobody = 65534

// impostor is a process that leads a group and carries a mark, as some user.
func impostor(t *testing.T, uid int, mark string) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.Env = []string{"SUPD_RUN=" + mark}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// markOf is the mark in the environment of a process.
func markOf(t *testing.T, pid int) string {
	t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for kv := range strings.SplitSeq(string(environ), "\x00") {
		if mark, ok := strings.CutPrefix(kv, "SUPD_RUN="); ok {
			return mark
		}
	}
	t.Fatalf("process %d has no mark", pid)
	return ""
}

// Nobody is taken for a program by a mark of his own making, and by a copy of one
// only if he could do as the program can anyway, and even then not where it is known
// which process the program was: not by a new daemon, not by one that has lost its
// state, and not when the program is gone.
func TestAttackForgedMarks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may start processes of others")
	}
	// vault is root's, web the attacker's own.
	d := suptest.Start(t, suptest.Options{Config: `[program:vault]
command=/bin/cat
startsecs=0
[program:web]
command=/bin/sleep 1000
user=65534
startsecs=0
`})
	d.Wait("RUNNING", "vault", "web")
	vault, web := d.Info("vault").PID, d.Info("web").PID
	marks := map[string]string{"vault": markOf(t, vault), "web": markOf(t, web)}
	impostors := map[int]bool{}
	for name, mark := range marks {
		m := state.ParseMark(mark)
		code := mark[strings.LastIndexByte(mark, ':'):]
		old := state.OldInstance(d.Path("supd.pid.state"))
		for _, forged := range []string{
			mark, // read from /proc/PID/environ
			m.Instance + ":" + name + ":" + strconv.FormatInt(m.Run+1, 10) + code,
			m.Instance + ":" + name + ":2147483647" + code,
			m.Instance + ":" + name + ":9223372036854775807:" + strings.Repeat("0", 32),
			m.Instance + ":" + name + ":" + strconv.FormatInt(m.Run+1, 10),
			old + ":" + name + ":" + strconv.FormatInt(m.Run, 10),
			old + ":" + name + ":2147483647",
		} {
			impostors[impostor(t, nobody, forged)] = true
		}
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		d.Wait("RUNNING", "vault", "web")
		for name, pid := range want {
			is := d.Info(name).PID
			if impostors[is] {
				t.Fatalf("%s: %s is a process of the attacker", when, name)
			}
			if pid != 0 && is != pid {
				t.Errorf("%s: %s has pid %d, had %d", when, name, is, pid)
			}
			m := state.ParseMark(markOf(t, is))
			if m.Process != name || m.Run > 1000 {
				t.Errorf("%s: %s is run %d of %s", when, name, m.Run, m.Process)
			}
		}
	}
	d.Crash()
	d.Relaunch()
	check("after a kill", map[string]int{"vault": vault, "web": web})

	d.Crash()
	if err := os.WriteFile(d.Path("supd.pid.state/state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Relaunch()
	check("without a state", map[string]int{"vault": vault, "web": web})

	d.Crash()
	if err := os.RemoveAll(d.Path("supd.pid.state")); err != nil {
		t.Fatal(err)
	}
	d.Relaunch()
	check("without a directory", map[string]int{"vault": vault, "web": web})

	d.Crash()
	for _, pid := range []int{vault, web} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.Relaunch()
	check("when the programs are gone", map[string]int{"vault": 0, "web": 0})
	check("when the programs are gone", map[string]int{"vault": d.Info("vault").PID})

	d.Signal(syscall.SIGTERM)
	d.AwaitEnd()
	d.Relaunch()
	check("after an orderly end", map[string]int{"vault": 0, "web": 0})
	for pid := range impostors {
		if _, ended, err := state.Ticks(pid); err != nil || ended {
			t.Errorf("process %d of the attacker was ended", pid)
		}
	}
}

// A stop of a killasgroup program ends what carries its mark in our PID namespace,
// and nothing that carries one like it.
func TestAttackMarkAtStop(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may start processes of others")
	}
	d := suptest.Start(t, suptest.Options{Config: `[program:tree]
command=/bin/sh -c 'setsid setpriv --reuid=65534 --regid=65534 --clear-groups /bin/sleep 1000 & echo $! >kid; exec sleep 1000'
directory=%(here)s
killasgroup=true
stopwaitsecs=1
startsecs=0
`})
	d.Wait("RUNNING", "tree")
	d.WaitFile("kid", "\n")
	mark := markOf(t, d.Info("tree").PID)
	m := state.ParseMark(mark)
	code := mark[strings.LastIndexByte(mark, ':'):]
	var others []int
	for _, forged := range []string{
		m.Instance + ":tree:" + strconv.FormatInt(m.Run, 10),
		m.Instance + ":tree:" + strconv.FormatInt(m.Run, 10) + ":" + strings.Repeat("0", 32),
		m.Instance + ":tree:" + strconv.FormatInt(m.Run+1, 10) + code,
		state.OldInstance(d.Path("supd.pid.state")) + ":tree:" + strconv.FormatInt(m.Run, 10),
	} {
		others = append(others, impostor(t, nobody, forged))
	}
	kid, err := strconv.Atoi(strings.TrimSpace(d.ReadFile("kid")))
	if err != nil {
		t.Fatal(err)
	}
	d.MustCtl("stop", "tree")
	d.Until("what has left the group and changed its user is ended", func() error {
		if err := syscall.Kill(kid, 0); err != syscall.ESRCH {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	d.Stop()
	for _, pid := range others {
		if _, ended, err := state.Ticks(pid); err != nil || ended {
			t.Errorf("process %d of another was ended", pid)
		}
	}
}
