package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sup/lib/suptest"
)

// elsewhere tells whether a process lives in another PID namespace.
func elsewhere(pid int) bool {
	ours, _ := os.Readlink("/proc/self/ns/pid")
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && theirs != ours
}

// asInit runs a command under a process that reaps whatever is left to it.
var asInit = []string{"sh", "-c", `"$@"; exit $?`, "init"}

// TestKillsElsewhere has daemons killed and upgraded under load as an ordinary user,
// in a PID namespace, and in one beside another that has the same paths: nothing
// foreign is taken over, signalled or counted.
func TestKillsElsewhere(t *testing.T) {
	needContainers(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	built := toolsForAll(t)
	user := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	within := append(append([]string{}, namespaces...), asInit...)
	here, there := filepath.Join(built, "side"), filepath.Join(built, "other")
	for _, dir := range []string{here, there} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// What lies there inside lies elsewhere outside.
	beside := append(append([]string{}, namespaces...), "sh", "-c", `mount --bind "$0" "$1" && shift && "$@"; exit $?`, there, here)
	sameDir := suptest.DirVar + "=" + filepath.Join(here, "sup")
	for name, runs := range map[string][]elsewhereRun{
		"ordinary user":  {{prefix: user}},
		"namespace":      {{prefix: within}},
		"side by side":   {{env: sameDir}, {prefix: beside, env: sameDir}},
		"two namespaces": {{prefix: beside, env: sameDir}, {prefix: within, env: sameDir}},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for _, r := range runs {
				all.Go(func() { r.run(t, built) })
			}
			all.Wait()
		})
	}
}

// toolsForAll is a directory with the tools and this test, that everybody can use.
func toolsForAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "suptools")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"supd": suptest.Tool(t, "supd"), "suplog": suptest.Tool(t, "suplog"), "supctl": suptest.Tool(t, "supctl"),
		"worker": worker(t), "test": self,
	} {
		if err := copyTool(filepath.Join(dir, name), from); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyTool(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errorOr(err, out.Close())
}

func errorOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// elsewhereRun is a run of tests of this package somewhere else.
type elsewhereRun struct {
	prefix []string
	env    string
}

func (r elsewhereRun) run(t *testing.T, built string) {
	patience := amount(3*time.Minute, 2*time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	words := append(append([]string{}, r.prefix...), filepath.Join(built, "test"),
		"-test.run=^(TestKilledDaemon|TestUpgradesInARow)$", "-test.v", "-test.timeout="+patience.String())
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), suptest.BuiltVar+"="+built)
	if r.env != "" {
		cmd.Env = append(cmd.Env, r.env)
	}
	cmd.Dir = "/"
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	text := output.String()
	if n := strings.Count(text, "--- PASS: "); err != nil || n != 2 {
		t.Errorf("%v: %v, %d of 2 passed\n%s", r.prefix, err, n, text)
		return
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "none lost") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
