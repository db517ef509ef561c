package suptest

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestSurvivors(t *testing.T) {
	dir := t.TempDir()
	// One in the directory, one that only its environment gives away, and one
	// that nothing does but its descent.
	start := func(dir string, env ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.Dir, cmd.Env = dir, env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd
	}
	inDir := start(dir)
	byEnv := start("/", "SUPERVISOR_SERVER_URL=unix://"+dir+"/supd.sock")
	child := start("/")

	pids := func(list []process) map[int]bool {
		found := map[int]bool{}
		for _, p := range list {
			found[p.pid] = true
		}
		return found
	}
	family := descendants(os.Getpid())
	for _, cmd := range []*exec.Cmd{inDir, byEnv, child} {
		if !pids(family)[cmd.Process.Pid] {
			t.Errorf("%d is no descendant", cmd.Process.Pid)
		}
	}
	Until(t, "both are found", func() error { // a child is itself only after exec
		found := pids(survivors(nil, dir))
		if len(found) != 2 || !found[inDir.Process.Pid] || !found[byEnv.Process.Pid] {
			return strconv.ErrRange
		}
		return nil
	})
	for _, p := range survivors(family, dir) {
		if p.pid == child.Process.Pid {
			if line := p.commandLine(); line != "sleep 1000" {
				t.Errorf("command line %q", line)
			}
			p.kill()
		}
	}
	_ = child.Wait()
	if pids(survivors(family, dir))[child.Process.Pid] {
		t.Error("a process that ended is a survivor")
	}
	// Another process of the same number is not the one that was seen.
	stale := family[0]
	stale.start = "1"
	stale.kill()
	if p, ok := look(stale.pid); !ok || p.zombie {
		t.Error("the wrong process was killed")
	}
}

func TestNumbered(t *testing.T) {
	if n := Numbered(t, "hello\nline 1\nother 1\nline 2\nline 3", "line"); n != 3 {
		t.Errorf("%d lines", n)
	}
	if n := Numbered(t, "", "line"); n != 0 {
		t.Errorf("%d lines", n)
	}
}

func TestTail(t *testing.T) {
	long := strings.Repeat("0123456789\n", 10000)
	got := tail(long)
	if len(got) > 17<<10 || !strings.HasPrefix(got, "…\n0123456789\n") || !strings.HasSuffix(long, got[len("…\n"):]) {
		t.Errorf("%d bytes, %.30q", len(got), got)
	}
	if tail("short") != "short" {
		t.Error("a short text was cut")
	}
}

func TestFreePort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
