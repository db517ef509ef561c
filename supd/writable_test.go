package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
