package safepath

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The model is the kernel: what root does through this package below a directory
// of a user must come out as if that user had done it with plain system calls. Of
// each tree there are two, and the user works on the second. Refusals beyond that
// are allowed, if they are ours and change nothing.

// operation is one thing to be done in a tree. Paths are relative to it.
type operation struct{ What, Path, To string }

var whats = []string{"log", "read", "truncate", "create", "mkdir", "remove", "rename", "list", "stat", "replace"}

// outcome is how it ended.
type outcome struct {
	OK      bool
	Refused bool // by us and not by the kernel
	Saw     string
	Err     string
}

// plain does an operation with plain system calls, as whoever runs it.
func plain(root string, op operation) outcome {
	path := root + "/" + op.Path
	saw, err := "", error(nil)
	open := func(flags int) {
		var f *os.File
		if f, err = os.OpenFile(path, flags|unix.O_NONBLOCK, 0o644); err == nil {
			saw, err = work(f, flags)
		}
	}
	switch op.What {
	case "log":
		err = unix.EACCES
		if info, serr := os.Stat(path); serr != nil || info.Mode().IsRegular() {
			open(os.O_RDWR | os.O_CREATE)
		}
		if errors.Is(err, unix.EACCES) {
			open(os.O_WRONLY | os.O_CREATE)
		}
	case "read":
		open(os.O_RDONLY)
	case "truncate":
		open(os.O_WRONLY | os.O_TRUNC)
	case "create":
		open(os.O_WRONLY | os.O_CREATE | os.O_EXCL)
	case "mkdir":
		err = os.Mkdir(path, 0o755)
	case "remove":
		err = unix.Unlink(path)
	case "rename":
		err = unix.Rename(path, filepath.Dir(path)+"/"+op.To)
	case "list":
		var entries []os.DirEntry
		entries, err = os.ReadDir(path)
		for _, e := range entries {
			saw += e.Name() + " "
		}
	case "stat":
		var st unix.Stat_t
		err = unix.Stat(path, &st)
		saw = fmt.Sprint(st.Mode, st.Uid, st.Gid, st.Size)
	case "replace":
		// Followed to its end, as far as links lead.
		target := path
		for range 10 {
			text, rerr := os.Readlink(target)
			if rerr != nil {
				break
			}
			target = filepath.Dir(target) + "/" + text
		}
		var st unix.Stat_t
		lerr := unix.Lstat(target, &st)
		switch {
		case lerr == nil && kind(&st) != unix.S_IFREG:
			err = unix.EEXIST
		case lerr != nil && lerr != unix.ENOENT:
			err = lerr
		default:
			temp := target + ".temp"
			if err = os.WriteFile(temp, []byte("whole"), 0o644); err == nil {
				if err = os.Rename(temp, target); err != nil {
					os.Remove(temp)
				}
			}
		}
	}
	return ended(saw, err)
}

// safe does the same through this package.
func safe(root string, op operation) outcome {
	path := root + "/" + op.Path
	saw, err := "", error(nil)
	open := func(flags int) {
		var f *os.File
		if f, err = OpenFile(path, flags, 0o644); err == nil {
			saw, err = work(f, flags)
		}
	}
	switch op.What {
	case "log":
		var l Log
		if l, err = OpenLog(path, 0o644, false); err == nil {
			saw, err = work(os.NewFile(uintptr(l.FD), path), os.O_WRONLY)
		}
	case "read":
		open(os.O_RDONLY)
	case "truncate":
		open(os.O_WRONLY | os.O_TRUNC)
	case "create":
		open(os.O_WRONLY | os.O_CREATE | os.O_EXCL)
	case "mkdir":
		err = Mkdir(path, 0o755)
	case "remove":
		err = Remove(path)
	case "rename":
		var d *Dir
		var name string
		if d, name, err = In(path); err == nil {
			err = d.Rename(name, op.To)
			d.Close()
		}
	case "list":
		var d *Dir
		if d, err = OpenDir(path); err == nil {
			var names []string
			names, err = d.Names()
			for _, n := range names {
				saw += n + " "
			}
			d.Close()
		}
	case "stat":
		var st unix.Stat_t
		st, err = Stat(path)
		saw = fmt.Sprint(st.Mode, st.Uid, st.Gid, st.Size)
	case "replace":
		err = Replace(path, []byte("whole"), 0o644)
	}
	return ended(saw, err)
}

// work reads or writes an open file and closes it.
func work(f *os.File, flags int) (saw string, err error) {
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "odd", err
	}
	if flags&(os.O_WRONLY|os.O_RDWR) != 0 {
		_, err = f.WriteAt([]byte("w"), 0)
		return "", err
	}
	b, err := io.ReadAll(f)
	return string(b), err
}

func ended(saw string, err error) outcome {
	var own *Error
	o := outcome{OK: err == nil}
	if err != nil {
		o.Err = err.Error()
		// A permission that the user lacks is explained, and no refusal of ours.
		o.Refused = errors.As(err, &own) && !strings.Contains(own.why, "is not permitted")
	} else {
		o.Saw = saw
	}
	return o
}

// forest makes two equal random trees with a home of nobody's, in which path
// begins, beside directories of root's and of games'.
func forest(t *testing.T, r *rand.Rand, first, second string) (op operation) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	dirs := []string{"home", "etc", "games"}
	owners := map[string][2]int{"home": {nobody, nobody}, "etc": {0, 0}, "games": {games, 60}}
	type thing struct {
		path, kind, text string
		owner            [2]int
		mode             uint32
	}
	var things []thing
	for _, d := range dirs {
		things = append(things, thing{d, "d", "", owners[d], 0o755})
	}
	var paths []string
	sticky := map[string]bool{}
	some := func() [2]int {
		return [][2]int{{nobody, nobody}, {nobody, nobody}, {0, 0}, {games, 60}}[r.IntN(4)]
	}
	for i := range 4 + r.IntN(14) {
		dir := dirs[r.IntN(len(dirs))]
		if r.IntN(2) == 0 {
			dir = dirs[0]
		}
		path := dir + "/" + string(rune('a'+i))
		mode := []uint32{0o644, 0o600, 0o666, 0o640, 0o604}[r.IntN(5)]
		th := thing{path, pick("d", "d", "f", "f", "l", "l", "h", "p"), "", some(), mode}
		switch th.kind {
		case "d":
			th.mode = []uint32{0o755, 0o700, 0o777, 0o1777, 0o775, 0o711, 0o2775, 0o1775}[r.IntN(8)]
			sticky[path] = th.mode&0o1000 != 0
			dirs = append(dirs, path)
		case "f":
			th.text = "content of " + path
		case "l":
			up := strings.Repeat("../", strings.Count(path, "/"))
			target := pick(append(paths, dirs...)...)
			th.text = up + pick(target, target, target+"/new", "nowhere", target+"/..", target+"/../etc")
			if sticky[dir] {
				th.owner = [2]int{nobody, nobody}
			}
		case "h":
			var files []string
			for _, o := range things {
				if o.kind == "f" {
					files = append(files, o.path)
				}
			}
			if len(files) == 0 {
				continue
			}
			th.text = pick(files...)
		}
		paths = append(paths, path)
		things = append(things, th)
	}
	for _, root := range []string{first, second} {
		must(t, os.Mkdir(root, 0o755))
		must(t, os.Chmod(root, 0o755))
		for _, th := range things {
			path := root + "/" + th.path
			switch th.kind {
			case "d":
				must(t, os.Mkdir(path, 0o700))
			case "f":
				must(t, os.WriteFile(path, []byte(th.text), 0o600))
			case "l":
				must(t, os.Symlink(th.text, path))
			case "h":
				must(t, os.Link(root+"/"+th.text, path))
				continue
			case "p":
				must(t, unix.Mkfifo(path, 0o600))
			}
			must(t, os.Lchown(path, th.owner[0], th.owner[1]))
			if th.kind != "l" {
				must(t, unix.Chmod(path, th.mode))
			}
		}
	}
	within := slices.DeleteFunc(append(slices.Clone(paths), "home/new", "home/."), func(p string) bool { return !strings.HasPrefix(p, "home") })
	path := pick(within...)
	for range r.IntN(3) {
		path += pick("/a", "/b", "/new", "/..", "/c", "/d", "/e", "/../home/f")
	}
	return operation{whats[r.IntN(len(whats))], path, pick("a", "b", "c", "new", "x")}
}

// snapshot is all that there is in a tree, as text.
func snapshot(t *testing.T, root string) string {
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		text := ""
		switch kind(&st) {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			must(t, err)
			text = string(content)
		case unix.S_IFLNK:
			text, err = os.Readlink(path)
			must(t, err)
		}
		fmt.Fprintf(&b, "%s %o %d:%d %d %q\n", strings.TrimPrefix(path, root), st.Mode, st.Uid, st.Gid, st.Nlink, text)
		return nil
	})
	must(t, err)
	return b.String()
}

const modelEnv = "SAFEPATH_MODEL"

// TestMain is also the user of the model: with modelEnv set it does the operations
// that it reads, in the directories that they come with.
func TestMain(m *testing.M) {
	if os.Getenv(modelEnv) == "" {
		os.Exit(m.Run())
	}
	unix.Umask(0o022)
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var job struct {
			Root string
			Op   operation
		}
		if in.Decode(&job) != nil {
			os.Exit(0)
		}
		if err := out.Encode(plain(job.Root, job.Op)); err != nil {
			os.Exit(1)
		}
	}
}

// attacker is a process of nobody's that does operations.
type attacker struct {
	in  *json.Encoder
	out *json.Decoder
}

func startUser(t testing.TB) *attacker {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = []string{modelEnv + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the user: %v %s", err, complaint.String())
		}
	})
	return &attacker{json.NewEncoder(in), json.NewDecoder(out)}
}

func (u *attacker) do(t testing.TB, root string, op operation) (o outcome) {
	if err := u.in.Encode(map[string]any{"Root": root, "Op": op}); err != nil {
		t.Fatal(err)
	}
	if err := u.out.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

// compare makes one random case of the model. It returns how it ended.
func compare(t *testing.T, u *attacker, dir string, seed uint64) (outcome, bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	op := forest(t, r, ours, theirs)
	defer os.RemoveAll(ours)
	defer os.RemoveAll(theirs)
	before := snapshot(t, ours)
	got := safe(ours, op)
	want := u.do(t, theirs, op)
	after, wanted := snapshot(t, ours), snapshot(t, theirs)
	bad := false
	switch {
	case got.Refused:
		bad = after != before
	case got.OK:
		bad = !want.OK || after != wanted || got.Saw != want.Saw
	default:
		bad = want.OK || after != before
	}
	if bad {
		t.Errorf("seed %d: %+v\nwe: %+v\nthe user: %+v\nbefore:\n%safter:\n%sthe user's:\n%s", seed, op, got, want, before, after, wanted)
	}
	return got, want.OK
}

func TestModel(t *testing.T) {
	asRoot(t)
	defer unix.Umask(unix.Umask(0o022))
	dir, u := tree(t), startUser(t)
	const cases = 400
	ok, refused, needless := 0, 0, 0
	for seed := range uint64(cases) {
		got, could := compare(t, u, dir, seed)
		switch {
		case got.OK:
			ok++
		case got.Refused && could:
			needless++
			fallthrough
		case got.Refused:
			refused++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d done, %d refused, of which %d the user could have done", ok, refused, needless)
	if ok < cases/8 || refused < cases/50 || needless > cases/5 {
		t.Error("the cases are not what they should be")
	}
}

func FuzzModel(f *testing.F) {
	if os.Geteuid() != 0 {
		f.Skip("needs root: it makes files of other users")
	}
	defer unix.Umask(unix.Umask(0o022))
	u := startUser(f)
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, u, tree(t), seed) })
}
