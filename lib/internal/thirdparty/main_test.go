package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sup/lib/suptest"
)

func TestMain(m *testing.M) { suptest.Main(m) }

// TestEveryModule compares with what go list says of the packages that the tools
// are made of.
func TestEveryModule(t *testing.T) {
	var binaries []string
	tools := []string{"supconf", "supctl", "supd", "suplog", "suptail"}
	for _, tool := range tools {
		binaries = append(binaries, suptest.Tool(t, tool))
	}
	var out strings.Builder
	if err := run(&out, binaries); err != nil {
		t.Fatal(err)
	}
	got := out.String()

	const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}"
	seen := 0
	for _, tool := range tools {
		cmd := exec.Command("go", "list", "-deps", "-f", format, ".")
		cmd.Dir = filepath.Join("../../..", tool)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		list, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(list)) {
			name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if !ok {
				continue
			}
			seen++
			if !strings.Contains(got, "\n"+name+"\n") {
				t.Errorf("%s contains %s, which is not named", tool, name)
			}
			text, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
			if err == nil && !strings.Contains(got, strings.TrimSpace(string(text))) {
				t.Errorf("the licence of %s is not there", name)
			}
		}
	}
	if seen == 0 {
		t.Error("go list has named no module")
	}
	if !strings.Contains(got, "The Go Authors") {
		t.Error("Go itself is not named")
	}
}

func TestErrors(t *testing.T) {
	for _, args := range [][]string{nil, {"main.go"}, {"/nonexistent"}} {
		if err := run(new(strings.Builder), args); err == nil {
			t.Errorf("no error of %q", args)
		}
	}
	if err := (module{"m v1", t.TempDir()}).write(new(strings.Builder)); err == nil {
		t.Error("no error for a module without a licence")
	}
}
