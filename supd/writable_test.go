package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWritableByOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is warned")
	}
	for _, test := range []struct {
		dir, file os.FileMode
		uid, gid  int
		want      string // of each line the beginning, "" for no line
	}{
		{0o755, 0o600, 0, 0, ""},
		{0o755, 0o660, 0, 0, ""},
		{0o755, 0o666, 0, 0, "configuration file"},
		{0o755, 0o660, 0, 12345, "configuration file"},
		{0o755, 0o640, 12345, 12345, "configuration file"},
		{0o755, 0o440, 12345, 0, "configuration file"}, // chmod is the owner's
		{0o777, 0o600, 0, 0, "the directory"},
		{0o777 | os.ModeSticky, 0o600, 0, 0, ""},
	} {
		dir := filepath.Join(t.TempDir(), "conf")
		file := filepath.Join(dir, "supervisord.conf")
		for _, err := range []error{
			os.Mkdir(dir, 0o755), os.WriteFile(file, nil, 0o600), os.Chown(file, test.uid, test.gid),
			os.Chmod(file, test.file), os.Chmod(dir, test.dir),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		lines := writableByOthers([]string{file, file, filepath.Join(dir, "none")})
		got := strings.Join(lines, "\n")
		if (test.want == "") != (got == "") || !strings.HasPrefix(got, test.want) || len(lines) > 1 {
			t.Errorf("%v: %q", test, lines)
		}
		if got != "" && !strings.Contains(got, "writable") {
			t.Errorf("%q does not say writable", got)
		}
	}
}

func TestPidfile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "supd.pid")
	check := func(what, file string) {
		t.Helper()
		fi, err := os.Lstat(file)
		if err != nil || !fi.Mode().IsRegular() || fi.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s: %v, %v", what, fi, err)
		}
	}
	if err := writePidfile(path); err != nil {
		t.Error(err)
	}
	check("a new file", path)
	removePidfile(path)

	// The administrator's links are followed, also to where nothing is yet.
	target := filepath.Join(dir, "elsewhere")
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writePidfile(path); err != nil {
			t.Error(err)
		}
		check("the target of a link", target)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", fi, err)
	}
}

// What is no regular file of its own stays what it is.
func TestAttackPidfile(t *testing.T) {
	dir := t.TempDir()
	paths := map[string]os.FileMode{"/dev/null": os.ModeDevice | os.ModeCharDevice, "/dev/stdin": os.ModeSymlink, dir: os.ModeDir}
	path := func(name string, kind os.FileMode) string {
		name = filepath.Join(dir, name)
		paths[name] = kind
		return name
	}
	if err := errors.Join(
		unix.Mkfifo(path("pipe", os.ModeNamedPipe), 0o600),
		unix.Mknod(path("socket", os.ModeSocket), unix.S_IFSOCK|0o600, 0),
		os.Symlink("pipe", path("link", os.ModeSymlink)),
	); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) == nil {
		path("device", os.ModeDevice|os.ModeCharDevice)
	}
	for name, kind := range paths {
		if err := writePidfile(name); (err != nil) != (name == dir) {
			t.Errorf("%s: %v", name, err)
		}
		removePidfile(name)
		if st, err := os.Lstat(name); err != nil || st.Mode().Type() != kind {
			t.Errorf("%s was %v and is %v, %v", name, kind, st, err)
		}
	}
	// Who reads from the pipe is told.
	pipe, err := os.OpenFile(filepath.Join(dir, "pipe"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := writePidfile(pipe.Name()); err != nil {
		t.Error(err)
	}
	text := make([]byte, 100)
	if n, err := pipe.Read(text); err != nil || string(text[:n]) != string(pidText()) {
		t.Errorf("%q, %v", text[:n], err)
	}
}
