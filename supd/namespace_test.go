package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/suptest"
)

// container is a supd in PID and mount namespaces of its own, that has the paths
// of one outside.
type container struct {
	t *testing.T
	// dir is where its directory lies outside.
	dir    string
	client *client.Client
}

// startContainer starts one that runs with the configuration of a daemon outside,
// and has every path of it.
func startContainer(t *testing.T, dir, config string) *container {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may make namespaces")
	}
	c := &container{t: t, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "supervisord.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	suptest.Tool(t, "suplog")
	output, err := os.Create(filepath.Join(c.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c",
		`mount --bind "$1" "$2" && cd / && exec "$0" -n -c "$2/supervisord.conf"`, suptest.Tool(t, "supd"), c.dir, dir)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Skip("namespaces cannot be made here: ", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all of the namespace
		<-ended
	})
	c.client, err = client.New("unix://"+filepath.Join(c.dir, "supd.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	suptest.Until(t, "the daemon of the container answers", func() error {
		select {
		case <-ended:
			text, _ := os.ReadFile(filepath.Join(c.dir, "output"))
			if strings.Contains(string(text), "not permitted") {
				t.Skipf("namespaces cannot be made here: %s", text)
			}
			t.Fatalf("the daemon of the container ended: %s", text)
		default:
		}
		var state rpc.State
		return c.client.Call(t.Context(), &state, "supervisor.getState")
	})
	return c
}

// pids are those of its programs, as it sees them; all must run.
func (c *container) pids(names ...string) string {
	c.t.Helper()
	var pids []string
	for _, name := range names {
		suptest.Until(c.t, name+" of the container runs", func() error {
			info, err := c.client.ProcessInfo(c.t.Context(), name)
			if err != nil {
				return err
			}
			if info.StateName != "RUNNING" {
				return fmt.Errorf("it is %s (%s)", info.StateName, info.Description)
			}
			if len(pids) > 0 && strings.HasPrefix(pids[len(pids)-1], name+":") {
				pids = pids[:len(pids)-1]
			}
			pids = append(pids, name+":"+strconv.Itoa(info.PID))
			return nil
		})
	}
	return strings.Join(pids, " ")
}

const sideBySide = `[program:nginx]
command=sleep 1000
killasgroup=true
stopasgroup=true
stopwaitsecs=1
startsecs=0
[program:app]
command=sleep 1000
startsecs=0
[program:tree]
command=sh -c 'setsid sleep 1000 & exec sleep 1000'
killasgroup=true
stopwaitsecs=1
startsecs=0
`

// Two daemons in two PID namespaces have all paths in common, and the numbers of
// their runs. Whoever comes first, what the one outside takes over, stops and kills
// is its own, though it sees the processes of the other.
func TestAttackContainerWithEqualPaths(t *testing.T) {
	for _, first := range []string{"the container", "the host"} {
		t.Run(first+" first", func(t *testing.T) {
			dir := t.TempDir()
			var inside *container
			enter := func() {
				d := suptest.Start(t, suptest.Options{Config: sideBySide})
				config := d.ReadFile("supervisord.conf")
				d.Stop()
				inside = startContainer(t, dir, config)
			}
			if first == "the container" {
				enter()
			}
			d := suptest.Start(t, suptest.Options{Dir: dir, Config: sideBySide})
			if first == "the host" {
				enter()
			}
			before := inside.pids("nginx", "app", "tree")
			own := func() {
				t.Helper()
				d.Wait("RUNNING", "nginx", "app", "tree")
				for _, name := range []string{"nginx", "app", "tree"} {
					pid := d.Info(name).PID
					theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
					ours, _ := os.Readlink("/proc/self/ns/pid")
					if err != nil || theirs != ours {
						t.Errorf("%s has pid %d, which is in %s (%v)", name, pid, theirs, err)
					}
				}
			}
			own()
			if strings.Contains(d.Log(), "took over") {
				t.Error("the daemon outside has taken something over")
			}
			d.MustCtl("stop", "nginx", "app")
			d.MustCtl("start", "all")
			own()
			was := d.Info("app").PID
			d.Crash()
			d.Relaunch()
			own()
			if is := d.Info("app").PID; is != was {
				t.Errorf("app had pid %d, and has %d", was, is)
			}
			d.Crash()
			if err := os.RemoveAll(d.Path("supd.pid.state")); err != nil {
				t.Fatal(err)
			}
			d.Relaunch()
			own()
			d.Stop() // waits until every sweep is over
			if after := inside.pids("nginx", "app", "tree"); after != before {
				t.Errorf("the programs of the container were %s, and are %s", before, after)
			}
		})
	}
}
