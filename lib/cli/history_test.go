package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
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
