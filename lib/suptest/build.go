package suptest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binaries is the directory of the tools that this test process has built, and
// what came of each.
var binaries struct {
	sync.Mutex
	dir   string
	built map[string]error
}

// Main runs the tests of a package and removes the binaries that were built
// for them. To be called by TestMain.
func Main(m *testing.M) {
	os.Exit(Cleaning{m}.Run())
}

// Cleaning is a testing.M that removes the binaries when its tests have run.
type Cleaning struct{ M *testing.M }

// Run runs the tests.
func (c Cleaning) Run() int {
	defer func() {
		if binaries.dir != "" {
			os.RemoveAll(binaries.dir)
		}
	}()
	return c.M.Run()
}

// Race tells whether the tests, and so the tools, run with the race detector,
// under which they need more time and much more memory.
const Race = raceDetector

// BuiltVar in the environment names a directory with tools that were built before,
// for tests that run where nothing can be built: as another user, say.
const BuiltVar = "SUPTEST_BUILT"

// Tool is the path of one of the tools, built from the source beside this
// module when it is first asked for. Tests that run with the race detector get
// tools with it.
func Tool(t T, name string) string {
	t.Helper()
	return tool(t, name, raceDetector)
}

// PlainTool is Tool without the race detector, for tests that judge what a
// tool takes of the machine.
func PlainTool(t T, name string) string {
	t.Helper()
	return tool(t, name, false)
}

func tool(t T, name string, race bool) string {
	t.Helper()
	if dir := os.Getenv(BuiltVar); dir != "" {
		return filepath.Join(dir, name)
	}
	binaries.Lock()
	defer binaries.Unlock()
	if binaries.dir == "" {
		dir, err := os.MkdirTemp("", "suptest")
		if err != nil {
			t.Fatal(err)
		}
		binaries.dir, binaries.built = dir, map[string]error{}
	}
	path := filepath.Join(binaries.dir, name)
	if raceDetector && !race {
		path += ".plain"
	}
	err, built := binaries.built[path]
	if !built {
		err = build(name, path, race)
		binaries.built[path] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(name, path string, race bool) error {
	lib, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sup/lib").Output()
	if err != nil {
		return fmt.Errorf("cannot find module sup/lib: %w", err)
	}
	source := filepath.Join(filepath.Dir(strings.TrimSpace(string(lib))), name)
	args := []string{"build", "-C", source, "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	if !race {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w\n%s", name, err, output)
	}
	return nil
}

// command are the words that run supd or supctl.
func command(t T, name string) []string {
	t.Helper()
	variable := map[string]string{"supd": "SUPTEST_DAEMON", "supctl": "SUPTEST_CTL"}[name]
	if words := strings.Fields(os.Getenv(variable)); len(words) > 0 {
		return words
	}
	if name == "supd" {
		Tool(t, "suplog") // supd finds it beside itself
	}
	return []string{Tool(t, name)}
}

// Reference tells whether the tests run against another daemon than supd.
func Reference() bool { return os.Getenv("SUPTEST_DAEMON") != "" }

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
