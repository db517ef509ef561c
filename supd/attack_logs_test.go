package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/suptest"
)

// What the user of a program, who owns the directory of its logs, can have root
// do there. Each test is one way, with the daemon as root.

const (
	attackerID = 65534 // nobody
	secret     = "root:$6$verysecret:20000::::::\n"
)

// scene is a directory of root's with three more in it: app, which is the
// attacker's, victim, which is root's and for all to see, and tmp, which is like
// /tmp. In victim there are a secret that only root can read and a file that only
// root can write.
type scene struct {
	t   *testing.T
	dir string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the daemon must be root's and the attacker not")
	}
	if suptest.Reference() {
		t.Skip("the reference does not withstand this")
	}
	dir, err := os.MkdirTemp("", "scene-")
	s := &scene{t, dir}
	s.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.must(os.Chmod(dir, 0o755))
	for _, name := range []string{"app", "victim", "tmp"} {
		s.must(os.Mkdir(s.path(name), 0o755))
	}
	s.must(os.Chown(s.path("app"), attackerID, attackerID))
	s.must(os.Chmod(s.path("tmp"), 0o777|os.ModeSticky))
	s.must(os.WriteFile(s.path("victim/shadow"), []byte(secret), 0o600))
	s.must(os.WriteFile(s.path("victim/passwd"), []byte("precious\n"), 0o644))
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// attack runs a script as the attacker, in the scene's directory.
func (s *scene) attack(script string) {
	s.t.Helper()
	if err := s.tryAttack(script); err != nil {
		s.t.Fatalf("the attacker cannot do what it should: %v", err)
	}
}

func (s *scene) tryAttack(script string) error {
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: attackerID, Gid: attackerID}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// start starts root's daemon with one program, app.
func (s *scene) start(app string) *suptest.Daemon {
	s.t.Helper()
	return suptest.Start(s.t, suptest.Options{Config: "user=root\n" + strings.ReplaceAll(app, "SCENE", s.dir)})
}

// unharmed checks that what is root's is as it was.
func (s *scene) unharmed() {
	s.t.Helper()
	entries, err := os.ReadDir(s.path("victim"))
	s.must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		s.must(err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 0 {
			s.t.Errorf("%s belongs to %d:%d", e.Name(), st.Uid, st.Gid)
		}
	}
	if !slices.Equal(names, []string{"passwd", "shadow"}) {
		s.t.Errorf("in root's directory there are %q", names)
	}
	for name, want := range map[string]string{"victim/passwd": "precious\n", "victim/shadow": secret} {
		if got, err := os.ReadFile(s.path(name)); err != nil || string(got) != want {
			s.t.Errorf("%s is %q (%v)", name, got, err)
		}
	}
	if info, err := os.Stat(s.path("victim/shadow")); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("the mode of the secret is %v (%v)", info.Mode(), err)
	}
}

// read reads a file, or nothing.
func (s *scene) read(name string) string {
	text, _ := os.ReadFile(s.path(name))
	return string(text)
}

// waitFile waits for a text in a file.
func (s *scene) waitFile(d *suptest.Daemon, path, text string) {
	s.t.Helper()
	d.Until(fmt.Sprintf("%q is in %s", text, path), func() error {
		if got, err := os.ReadFile(path); err != nil || !strings.Contains(string(got), text) {
			return fmt.Errorf("it is not (%v)", err)
		}
		return nil
	})
}

// waitLog waits for a text in the activity log, n times.
func waitLog(d *suptest.Daemon, text string, n int) {
	d.Until(fmt.Sprintf("%q %d times in the activity log", text, n), func() error {
		if got := strings.Count(d.Log(), text); got < n {
			return fmt.Errorf("%d times", got)
		}
		return nil
	})
}

const talker = `[program:app]
command=/bin/sh -c "while sleep 0.05; do echo line of the program; done"
user=nobody
redirect_stderr=true
stdout_logfile=SCENE/app/logs/out.log
`

// TestAttackLogLink puts links of several kinds in the place of the log of a
// program that runs.
func TestAttackLogLink(t *testing.T) {
	s := newScene(t)
	s.attack("mkdir app/logs")
	d := s.start(talker)
	for i, plant := range []string{
		"rm app/logs/out.log; ln -s ../../victim/new app/logs/out.log",
		"rm app/logs/out.log; ln -s $PWD/victim/shadow app/logs/out.log",
		"mv app/logs app/old$$; ln -s ../victim app/logs; : >app/done",
		"rm app/logs/out.log; ln -s /proc/self/fd/1 app/logs/out.log",
	} {
		s.waitFile(d, s.path("app/logs/out.log"), "line of the program")
		s.attack(plant)
		if strings.Contains(plant, "done") {
			// The file that is open has a name still, and goes on being written
			// until it is to be opened again.
			if out, _ := d.Ctl("tail", "app"); strings.Contains(out, "verysecret") {
				t.Errorf("%q: the secret was shown", plant)
			}
			d.Signal(syscall.SIGUSR2)
		}
		waitLog(d, "cannot open log", i+1)
		s.unharmed()
		s.attack("rm -rf app/logs; mkdir app/logs")
	}
	s.waitFile(d, s.path("app/logs/out.log"), "line of the program")
	d.Stop()
	s.unharmed()
}

// TestAttackCompress plants backups, and links for what they are packed to.
func TestAttackCompress(t *testing.T) {
	s := newScene(t)
	s.attack(`mkdir app/logs; cd app/logs
		echo toor::0:0::/:/bin/sh >out-2030-01-01T00-00-00.000.log
		ln -s ../../victim/passwd out-2030-01-01T00-00-00.000.log.gz
		ln -s ../../victim/shadow out-2030-01-02T00-00-00.000.log
		: >catch
		ln -s catch out-2030-01-02T00-00-00.000.log.gz
		ln -s ../../victim/new out-2030-01-03T00-00-00.000.log.gz
		: >out-2030-01-03T00-00-00.000.log
		ln -s ../../victim/shadow out-2030-01-04T00-00-00.000.log.gz.packing.aaaaaaaaaaaa`)
	d := s.start(talker + "stdout_logfile_maxbytes=100\nstdout_logfile_backups=9\nstdout_logfile_compress=true\n")
	d.Until("a packed backup", func() error {
		found, err := filepath.Glob(s.path("app/logs/out-202[0-9]-*.log.gz"))
		if len(found) == 0 {
			return fmt.Errorf("none yet (%v)", err)
		}
		return nil
	})
	d.Stop()
	s.unharmed()
	if got, err := os.ReadFile(s.path("app/logs/catch")); err != nil || len(got) > 0 {
		t.Errorf("the attacker caught %q (%v)", got, err)
	}
}

// TestAttackRead has the log read and emptied for clients, with a link or a hard
// link in its place.
func TestAttackRead(t *testing.T) {
	s := newScene(t)
	s.attack("mkdir app/logs")
	d := s.start("[program:app]\ncommand=/bin/sleep 1000\nuser=nobody\nstdout_logfile=SCENE/app/logs/out.log\nstderr_logfile=NONE\n")
	d.Wait("RUNNING", "app")
	look := func(what string) {
		t.Helper()
		for _, args := range [][]string{{"tail", "app"}, {"tail", "-100000", "app"}} {
			if out, _ := d.Ctl(args...); strings.Contains(out, "verysecret") {
				t.Errorf("%s: %v shows the secret", what, args)
			}
		}
		d.Ctl("clear", "app")
		s.unharmed()
	}
	for _, target := range []string{"shadow", "passwd"} {
		s.attack("rm -f app/logs/out.log; ln -s $PWD/victim/" + target + " app/logs/out.log")
		look("link")
		// As where fs.protected_hardlinks is 0.
		s.attack("rm -f app/logs/out.log")
		s.must(os.Link(s.path("victim/"+target), s.path("app/logs/out.log")))
		look("hard link")
	}
	d.Stop()
	s.unharmed()
}

// TestAttackMakeDir has the directory of a log made again somewhere else.
func TestAttackMakeDir(t *testing.T) {
	s := newScene(t)
	s.attack("mkdir -p app/logs/conf.d")
	d := s.start(strings.ReplaceAll(talker, "app/logs/out.log", "app/logs/conf.d/out.log"))
	s.waitFile(d, s.path("app/logs/conf.d/out.log"), "line")
	s.attack("mv app/logs app/old; rm app/old/conf.d/out.log; ln -s ../victim app/logs")
	waitLog(d, "cannot open log", 1)
	s.unharmed()
	s.attack("rm app/logs; mkdir app/logs")
	s.waitFile(d, s.path("app/logs/conf.d/out.log"), "line")
	if info, err := os.Stat(s.path("app/logs/conf.d")); err != nil || info.Sys().(*syscall.Stat_t).Uid != attackerID {
		t.Errorf("the directory that was made again is not its owner's (%v)", err)
	}
	d.Stop()
	s.unharmed()
}

// TestAttackRotation plants links under the names of backups, and renames as
// logrotate does.
func TestAttackRotation(t *testing.T) {
	s := newScene(t)
	s.attack(`mkdir app/logs; cd app/logs
		ln -s ../../victim/passwd out.log.1
		ln -s ../../victim/new out.log.2`)
	d := s.start(talker + "stdout_logfile_maxbytes=60\nstdout_logfile_backups=3\n")
	d.Until("three backups", func() error {
		for n := 1; n <= 3; n++ {
			info, err := os.Lstat(s.path(fmt.Sprintf("app/logs/out.log.%d", n)))
			if err != nil || !info.Mode().IsRegular() {
				return fmt.Errorf("%d is not there", n)
			}
		}
		return nil
	})
	s.unharmed()
	s.attack("mv app/logs/out.log app/logs/out.log.old; ln -s ../../victim/passwd app/logs/out.log")
	d.Signal(syscall.SIGUSR2)
	waitLog(d, "cannot open log", 1)
	d.Stop()
	s.unharmed()
}

// TestAttackAutoLog takes the name of an automatic log that a cleaner has
// removed, while the program runs and before it starts again.
func TestAttackAutoLog(t *testing.T) {
	s := newScene(t)
	d := suptest.Start(t, suptest.Options{Config: strings.ReplaceAll(`user=root
childlogdir=SCENE/tmp
[program:app]
command=/bin/sh -c "while sleep 0.02; do if [ -e SCENE/go ]; then echo secret; fi; done"
redirect_stderr=true
`, "SCENE", s.dir)})
	d.Wait("RUNNING", "app")
	s.waitFile(d, d.Info("app").StdoutLogfile, "")
	for i, plant := range []string{": >%s; chmod 666 %[1]s", ": >%s; chmod 600 %[1]s", "mkfifo %s", "mkdir %s", "ln -s $PWD/victim/new %s"} {
		was := d.Info("app").StdoutLogfile
		// The program is silent while the name is being taken: else suplog would
		// be quicker, as it is if the program was just about to speak.
		s.must(os.RemoveAll(s.path("go")))
		d.Until("the name taken", func() error {
			os.Remove(was)
			return s.tryAttack(fmt.Sprintf(plant, was))
		})
		s.must(os.WriteFile(s.path("go"), nil, 0o644))
		if i%2 == 1 {
			d.MustCtl("restart", "app")
		}
		d.Until("another log", func() error {
			if now := d.Info("app").StdoutLogfile; now == was {
				return fmt.Errorf("it is still %s", now)
			}
			return nil
		})
		now := d.Info("app").StdoutLogfile
		s.waitFile(d, now, "secret")
		if info, err := os.Stat(now); err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%q: the new log is %v (%v)", plant, info, err)
		}
		if info, err := os.Lstat(was); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			t.Errorf("%q: something was written there", plant)
		}
	}
	d.Stop()
	s.unharmed()
}

// TestAttackOddLog puts what is no file in the place of the log. Nothing hangs:
// not the log of another program, not a request.
func TestAttackOddLog(t *testing.T) {
	s := newScene(t)
	s.attack("mkdir app/logs")
	d := s.start(talker + `[program:other]
command=/bin/sh -c "while sleep 0.05; do echo other; done"
redirect_stderr=true
stdout_logfile=SCENE/other.log
`)
	d.Wait("RUNNING", "app", "other")
	for _, plant := range []string{"mkfifo out.log", "mkdir out.log", "ln -s /dev/zero out.log", "ln -s out.log out.log", "ln -s /dev/tty out.log", "ln -s /proc/self/environ out.log"} {
		s.attack("cd app/logs; rm -rf out.log; " + plant)
		start := time.Now()
		d.Ctl("tail", "app")
		d.Ctl("clear", "app")
		if took := time.Since(start); took > 11*time.Second { // clear gives up after 5
			t.Errorf("%q: requests took %v", plant, took)
		}
		before := len(s.read("other.log"))
		d.Until("more of the other log", func() error {
			if len(s.read("other.log")) <= before {
				return fmt.Errorf("%q: nothing came", plant)
			}
			return nil
		})
	}
	d.Stop()
	s.unharmed()
}

// TestRootsOldLog: a log of root's in the directory of a user, as every root's
// daemon made them once, is put aside, and the new one is that user's.
func TestRootsOldLog(t *testing.T) {
	s := newScene(t)
	s.attack("mkdir app/logs")
	s.must(os.WriteFile(s.path("app/logs/out.log"), []byte("old\n"), 0o644))
	d := s.start(talker)
	s.waitFile(d, s.path("app/logs/out.log"), "line of the program")
	if got := s.read("app/logs/out.log.1"); got != "old\n" {
		t.Errorf("the old log is %q", got)
	}
	if out := d.MustCtl("tail", "app"); !strings.Contains(out, "line") {
		t.Errorf("tail shows %q", out)
	}
	waitLog(d, "was root's in the directory of another user", 1)
	d.Stop()
}

// TestLogPlaces has logs where administrators have them: in a directory of a group,
// behind a link of root's, in the directory of another user, in one like /tmp, in a
// FIFO.
func TestLogPlaces(t *testing.T) {
	s := newScene(t)
	const webUser = 33
	for _, dir := range []string{"group", "web", "data"} {
		s.must(os.Mkdir(s.path(dir), 0o755))
	}
	s.must(os.Chown(s.path("group"), 0, 60))
	s.must(os.Chmod(s.path("group"), 0o775))
	s.must(os.WriteFile(s.path("group/theirs.log"), []byte("before\n"), 0o640))
	s.must(os.Chown(s.path("group/theirs.log"), webUser, 4))
	s.must(os.Chown(s.path("web"), webUser, webUser))
	s.must(os.Symlink("../data/real.log", s.path("victim/link.log")))
	defer os.Remove(s.path("victim/link.log"))
	s.must(os.Symlink("data", s.path("linked")))
	s.must(syscall.Mkfifo(s.path("data/fifo"), 0o644))
	reader, err := os.OpenFile(s.path("data/fifo"), os.O_RDWR, 0)
	s.must(err)
	defer reader.Close()
	places := map[string]int{ // and the owners of the files
		"group/new.log": 0, "group/theirs.log": webUser, "web/out.log": webUser, "victim/link.log": 0, "linked/other.log": 0, "tmp/out.log": 0, "data/fifo": 0,
	}
	var config strings.Builder
	config.WriteString("user=root\n")
	for place := range places {
		name := strings.NewReplacer("/", "-", ".", "-").Replace(place)
		fmt.Fprintf(&config, "[program:%s]\ncommand=/bin/sh -c \"echo hello; exec sleep 1000\"\nredirect_stderr=true\nstdout_logfile=%s\n", name, s.path(place))
	}
	d := suptest.Start(t, suptest.Options{Config: config.String()})
	for place, owner := range places {
		if place == "data/fifo" {
			b := make([]byte, 6)
			if n, err := reader.Read(b); string(b[:n]) != "hello\n" {
				t.Errorf("in the FIFO is %q (%v)", b[:n], err)
			}
			continue
		}
		s.waitFile(d, s.path(place), "hello")
		if info, err := os.Stat(s.path(place)); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != owner {
			t.Errorf("%s does not belong to %d (%v)", place, owner, err)
		}
	}
	if got := s.read("group/theirs.log"); got != "before\nhello\n" {
		t.Errorf("the log of another user has %q", got)
	}
	d.Stop()
}
