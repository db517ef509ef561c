package safepath

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAttackRace has names exchanged all the time while root works on them: a
// directory with a link to one of root's, a log with a link and with a hard link
// to a secret of root's.
func TestAttackRace(t *testing.T) {
	asRoot(t)
	root := tree(t)
	build(t, root, `
		etc d 0 0 755
		etc/secret f 0 0 600 secret
		home d 65534 65534 755
		home/x d 65534 65534 755
		home/x/log f 65534 65534 644 mine
		home/y l 65534 65534 0 ../etc
		home/log f 65534 65534 644 mine
		home/link l 65534 65534 0 ../etc/secret
		home/hard h 0 0 0 ROOT/etc/secret
		group d 0 60 775
		group/log f 0 0 644 mine
		group/link l 5 60 0 ../etc/secret
		group/roots l 0 0 0 log
		group/theirs l 5 60 0 ../etc/secret
		group/hard h 0 0 0 ROOT/etc/secret
	`)
	stop := make(chan struct{})
	var flips sync.WaitGroup
	for _, pair := range [][2]string{{"home/x", "home/y"}, {"home/log", "home/link"}, {"home/link", "home/hard"}, {"group/log", "group/link"}, {"group/link", "group/hard"}, {"group/roots", "group/theirs"}} {
		flips.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := unix.Renameat2(unix.AT_FDCWD, root+"/"+pair[0], unix.AT_FDCWD, root+"/"+pair[1], unix.RENAME_EXCHANGE); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	opened, refused := 0, 0
	for range 300 {
		for _, name := range []string{"home/x/secret", "home/x/new", "home/x/log", "home/log", "group/log", "group/roots"} {
			for _, how := range []int{unix.O_RDWR | unix.O_CREAT, unix.O_WRONLY | unix.O_TRUNC} {
				fd, err := Open(root+"/"+name, how, 0o644)
				if err != nil {
					refused++
					continue
				}
				opened++
				var st unix.Stat_t
				must(t, unix.Fstat(fd, &st))
				if st.Size == int64(len("secret")) {
					t.Errorf("%s: the secret was opened", name)
				}
				unix.Close(fd)
			}
			if err := Remove(root + "/home/x/secret"); err == nil {
				opened++
			}
		}
		d, err := OpenDir(root + "/home/x")
		if err == nil {
			d.Mkdir("made", 0o755)
			d.RemoveDir("made")
			d.Rename("secret", "stolen")
			d.Close()
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	flips.Wait()
	entries, err := os.ReadDir(root + "/etc")
	must(t, err)
	text, err := os.ReadFile(root + "/etc/secret")
	if len(entries) != 1 || err != nil || string(text) != "secret" {
		t.Errorf("root's directory has %v, the secret is %q (%v)", entries, text, err)
	}
	if opened == 0 || refused == 0 {
		t.Errorf("%d opened, %d refused: there was no race", opened, refused)
	}
	t.Logf("%d opened, %d refused", opened, refused)
}

// again runs a test once more in a process of its own, and tells whether this is
// that one. how changes the command.
func again(t *testing.T, how func(*exec.Cmd)) (child bool) {
	t.Helper()
	if os.Getenv("SAFEPATH_AGAIN") != "" {
		return true
	}
	exe, err := os.Open("/proc/self/exe")
	must(t, err)
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), "SAFEPATH_AGAIN=1")
	cmd.Dir = "/"
	how(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// variable names the tree that was built for the other process.
const variable = "SAFEPATH_TREE"

// expectations are paths below root and the errors that opening them for writing
// must have. Each is opened twice: the second time it is there.
func expect(t *testing.T, root string, expectations map[string]error) {
	t.Helper()
	for name, want := range expectations {
		for range 2 {
			fd, err := Open(root+"/"+name, unix.O_RDWR|unix.O_CREAT, 0o644)
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s: %v, wanted %v", name, err, want)
			}
			if err == nil {
				unix.Close(fd)
			}
		}
	}
}

// TestWithoutSetuid works where the process may not act as others.
func TestWithoutSetuid(t *testing.T) {
	asRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv")
	}
	if !again(t, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{setpriv, "--bounding-set", "-setuid", "--inh-caps", "-setuid", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = setpriv
	}) {
		return
	}
	if canBecome(nobody) {
		t.Fatal("the process may change its user")
	}
	expectBound(t)
}

// TestWithoutSetuidAndChown works where what the process makes stays its own, as in
// a container without any capability: a log is opened again, and nothing else of
// ours that the directory's owner might have put there.
func TestWithoutSetuidAndChown(t *testing.T) {
	asRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv")
	}
	root := os.Getenv(variable)
	if root == "" {
		root = tree(t)
		build(t, root, `
			etc d 0 0 755
			etc/secret f 0 0 600 secret
			home d 65534 65534 777
			home/hard h 0 0 0 ROOT/etc/secret
			home/roots f 0 0 600 secret
		`)
	}
	if !again(t, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, variable+"="+root)
		const without = "-setuid,-chown"
		cmd.Args = append([]string{setpriv, "--bounding-set", without, "--inh-caps", without, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = setpriv
	}) {
		return
	}
	expect(t, root, map[string]error{"home/new": nil, "home/hard": unix.EACCES})
	for range 2 {
		l, err := OpenLog(root+"/home/private", 0o600, true)
		must(t, err)
		unix.Close(l.FD)
	}
	for name, want := range map[string]error{"home/new": nil, "home/roots": unix.EACCES} {
		fd, err := Open(root+"/"+name, unix.O_RDONLY, 0)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: reading gives %v, wanted %v", name, err, want)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

// TestAttackKeptCapabilities works where a change of the user leaves root's
// capabilities: what is done as a user would be done with those.
func TestAttackKeptCapabilities(t *testing.T) {
	asRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv")
	}
	if !again(t, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{setpriv, "--securebits", "+no_setuid_fixup", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = setpriv
	}) {
		return
	}
	expectBound(t)
}

// expectBound expects what is done below a user's directory where we cannot act as
// that user.
func expectBound(t *testing.T) {
	t.Helper()
	root := tree(t)
	build(t, root, `
		etc d 0 0 755
		etc/secret f 0 0 600 secret
		home d 65534 65534 755
		home/old f 65534 65534 644 mine
		home/link l 65534 65534 0 ../etc/secret
		home/hard h 0 0 0 ROOT/etc/secret
		home/dir l 65534 65534 0 ../etc
		home/roots d 0 0 755
	`)
	expect(t, root, map[string]error{"home/roots/new": unix.EACCES, "home/new": nil, "home/old": nil, "home/link": unix.ELOOP, "home/hard": unix.EACCES, "home/dir/new": unix.ELOOP})
	d, err := OpenDir(root + "/home")
	must(t, err)
	defer d.Close()
	must(t, d.MakeLike("again", nil))
	if st, err := d.Lstat("again"); err != nil || st.Uid != nobody {
		t.Errorf("a directory that was made again belongs to user %d (%v)", st.Uid, err)
	}
}

// TestOrdinaryUser acts as itself, and is not misled by others either.
func TestOrdinaryUser(t *testing.T) {
	root := os.Getenv(variable)
	if root == "" {
		asRoot(t)
		root = tree(t)
		build(t, root, `
			home d 65534 65534 755
			home/mine d 65534 65534 775
			home/mine/link l 65534 65534 0 new
			home/roots l 0 0 0 mine
			home/private f 65534 65534 600 secret
			deploy d 5 65534 775
			deploy/current l 5 60 0 logs
			deploy/logs d 5 65534 2775
			deploy/evil l 6 60 0 ../home/private
			tmp d 0 0 1777
			tmp/mine f 65534 65534 600 x
			tmp/theirs f 5 60 666 x
			tmp/evil l 5 60 0 ../home/private
			tmp/link l 65534 65534 0 mine
			tmp/hard h 0 0 0 ROOT/home/private
		`)
	}
	if !again(t, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, variable+"="+root)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}) {
		return
	}
	expect(t, root, map[string]error{
		"home/new": nil, "home/mine/new": nil, "home/mine/link": nil, "home/roots/new": nil,
		"deploy/current/log": nil, "deploy/evil": unix.ELOOP,
		"tmp/new": nil, "tmp/mine": nil, "tmp/link": nil, "tmp/theirs": unix.EACCES, "tmp/evil": unix.ELOOP, "tmp/hard": unix.EMLINK,
	})
	if fd, err := Open(root+"/tmp/theirs", unix.O_RDONLY, 0); err == nil {
		unix.Close(fd)
	} else {
		t.Error("what a stranger has in /tmp may be read:", err)
	}
}
