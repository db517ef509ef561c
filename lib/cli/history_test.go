package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	var h History
	if err := h.Load(path); err == nil {
		t.Error("a missing file is no error")
	}
	for _, line := range []string{"status", "", "  ", "stop a", "stop a", "quit"} {
		h.Add(line)
	}
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "status\nstop a\nquit\n" {
		t.Errorf("file: %q, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}

	// Through a symbolic link, which stays one.
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	var again History
	if err := again.Load(link); err != nil {
		t.Fatal(err)
	}
	if again.Len() != 3 || again.At(0) != "quit" || again.At(2) != "status" {
		t.Errorf("read back: %v", again.lines)
	}
	for i := range historyMax + 10 {
		again.Add(fmt.Sprint(i))
	}
	if again.Len() != historyMax {
		t.Errorf("%d lines are kept", again.Len())
	}
	if err := again.Save(link); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link is %q, %v", target, err)
	}
}

// What is no regular file is neither waited for nor replaced.
func TestAttackHistory(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.Symlink("pipe", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, "/dev/null", dir} {
		h := History{lines: []string{"status"}}
		if err := h.Load(path); err == nil && path != "/dev/null" {
			t.Errorf("%s is read", path)
		}
		if err := h.Save(path); err == nil {
			t.Errorf("%s is written", path)
		}
	}
	for path, kind := range map[string]os.FileMode{pipe: os.ModeNamedPipe, link: os.ModeSymlink, "/dev/null": os.ModeDevice | os.ModeCharDevice} {
		if st, err := os.Lstat(path); err != nil || st.Mode().Type() != kind {
			t.Errorf("%s is %v, %v", path, st, err)
		}
	}
}
