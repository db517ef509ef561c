package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sup/lib/client"
	"sup/lib/suptest"
)

// ordinary is a supd of a user who has nothing but a directory and /tmp.
type ordinary struct {
	t      *testing.T
	uid    int
	bin    string
	dir    string
	args   []string
	client *client.Client
	cmd    *exec.Cmd
}

func (o *ordinary) start() {
	o.t.Helper()
	output, err := os.OpenFile(filepath.Join(o.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		o.t.Fatal(err)
	}
	defer output.Close()
	o.cmd = exec.Command(filepath.Join(o.bin, "supd"), append([]string{"-n", "-c", filepath.Join(o.dir, "supervisord.conf")}, o.args...)...)
	o.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}
	o.cmd.Dir = o.dir
	o.cmd.Stdout, o.cmd.Stderr = output, output
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.uid)}}
	if err := o.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	cmd := o.cmd
	o.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

// pid waits until web runs.
func (o *ordinary) pid() (pid int) {
	o.t.Helper()
	suptest.Until(o.t, "web runs", func() error {
		info, err := o.client.ProcessInfo(o.t.Context(), "web")
		if err == nil && info.StateName != "RUNNING" {
			err = fmt.Errorf("it is %s", info.StateName)
		}
		pid = info.PID
		return err
	})
	return pid
}

// crash kills the daemon.
func (o *ordinary) crash() {
	o.t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		o.t.Fatal(err)
	}
	_ = o.cmd.Wait()
}

// An ordinary user's daemon whose pid file lies in /tmp is taken over from, through a
// directory of that user's alone; one that somebody else has made before is not used.
func TestAttackStateDirectoryOfOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	if suptest.Race {
		t.Skip("nothing that the race detector could see")
	}
	const uid = 61234
	own := fmt.Sprintf("/tmp/sup-%d", uid)
	if _, err := os.Lstat(own); err == nil {
		t.Skip(own, " is in use")
	}
	o := &ordinary{t: t, uid: uid}
	for _, dir := range []*string{&o.bin, &o.dir} {
		var err error
		if *dir, err = os.MkdirTemp("/tmp", "supplace"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(*dir) })
		if err := os.Chmod(*dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	suptest.Tool(t, "suplog")
	installed(t, filepath.Dir(suptest.Tool(t, "supd")), o.bin)
	// The directory is root's, so nothing but /tmp is theirs.
	log := filepath.Join(o.dir, "supd.log")
	if err := errors.Join(os.WriteFile(log, nil, 0o600), os.Chown(log, uid, uid)); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join("/tmp", "supplace"+fmt.Sprint(os.Getpid()))
	pidfile, socket := base+".pid", base+".sock"
	t.Cleanup(func() {
		for _, path := range []string{own, pidfile, socket, pidfile + ".state"} {
			os.RemoveAll(path)
		}
	})
	config := "[unix_http_server]\nfile=" + socket + "\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n" +
		"[supervisord]\nlogfile=%(here)s/supd.log\nchildlogdir=/tmp\npidfile=" + pidfile + "\n[program:web]\ncommand=/bin/sleep 1000\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
	if err := os.WriteFile(filepath.Join(o.dir, "supervisord.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.client, err = client.New("unix://"+socket, nil, nil); err != nil {
		t.Fatal(err)
	}
	o.start()
	pid := o.pid()
	found, _ := filepath.Glob(own + "/supplace*/state")
	if fi, err := os.Stat(own); err != nil || fi.Mode().Perm() != 0o700 || len(found) != 1 {
		t.Errorf("%s: %v, %v, with %v", own, fi, err, found)
	}
	o.crash()
	o.start()
	if again := o.pid(); again != pid {
		t.Errorf("web had pid %d, and has %d", pid, again)
	}
	if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = o.cmd.Wait()

	// Another user has made it first.
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(own, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(own, 0o777), os.Chown(own, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	o.start()
	o.pid()
	said, _ := os.ReadFile(log)
	if !strings.Contains(string(said), "cannot use the state directory "+own) || !strings.Contains(string(said), "hint: name a directory with statedir=") {
		t.Errorf("nothing is said of it: %s", said)
	}
	if found, _ := filepath.Glob(own + "/*"); len(found) > 0 {
		t.Errorf("%v was made", found)
	}
}
