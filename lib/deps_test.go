// Package lib holds only the test that keeps the drawing of who may import whom.
package lib

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// drawing says who may import whom, in the notation of Go's go/build/deps_test.go:
// "a, b < c, d" means that c and d may import a and b, and whatever these may
// import. NONE is nothing. It is a statement of policy: the test fails on an
// import that is not drawn, and on a line that nothing uses.
//
// A plain name is a package of lib, one that begins with a tool is that tool's.
// The standard library, golang.org/x/sys and golang.org/x/term are free.
const drawing = `
	# What words and bytes mean. No knowledge of sections, processes or files.
	NONE < access, expand, rpc, safepath, spawn, value;
	safepath < cli, password, pemfile;

	# Whether only root can change what root executes or obeys.
	safepath < trust;

	# The configuration, from text to a plan that is never edited.
	expand, trust, value < config;
	access, cli, config, password < plan;

	# The life of one process, without a clock and without a system call.
	value < event, process;

	# The log plane: what is said between supd and suplog, and the files.
	NONE < logwire, watch;
	safepath, watch < logfile;

	# Those who ask a daemon. Only tests import suptest and clienttest.
	pemfile, rpc < client < suptest;
	rpc < client/clienttest;

	# For the build: what others' licences say.
	NONE < internal/thirdparty;

	# supd: one owner of state, and the servers that ask it.
	value < supd/internal/activity, supd/internal/record;
	NONE < supd/internal/cgroup, supd/internal/crash, supd/internal/early, supd/internal/hurry, supd/internal/suphold, supd/internal/suspend, supd/internal/systemd;
	safepath, spawn, supd/internal/crash < supd/internal/state;
	safepath < supd/internal/unixsock;
	plan, supd/internal/unixsock < supd/internal/fcgi;
	logwire, supd/internal/suphold < supd/internal/holder;
	event, logwire, plan, process, rpc, safepath, spawn,
	supd/internal/activity, supd/internal/cgroup, supd/internal/fcgi, supd/internal/holder, supd/internal/record, supd/internal/state, supd/internal/suspend < supd/internal/daemon;
	access, logfile, password, pemfile, plan, rpc, supd/internal/record, supd/internal/suspend, supd/internal/unixsock < supd/internal/server;
	cli, supd/internal/daemon, supd/internal/early, supd/internal/hurry, supd/internal/server, supd/internal/systemd < supd;

	# The other tools.
	cli, client, config, trust, value < supctl;
	NONE < suplog/internal/transform;
	cli, logfile, logwire, spawn, value, suplog/internal/transform < suplog;
	cli, client, pemfile, plan, trust < supconf;
	cli, client, config, logfile < suptail;
`

// libraries names the one package that imports each library of others, so that
// what is peculiar about a library is met in one place. Tests keep to it too, but
// every tool may have scripts.
var libraries = map[string]string{
	"github.com/fsnotify/fsnotify":               "watch",
	"github.com/kolo/xmlrpc":                     "rpc",
	"github.com/rogpeppe/go-internal/testscript": "suptest",
	"golang.org/x/crypto/argon2":                 "password",
	"golang.org/x/crypto/bcrypt":                 "password",
	"golang.org/x/crypto/chacha20poly1305":       "supd/internal/server",
	"gopkg.in/ini.v1":                            "config",
	"gopkg.in/natefinch/lumberjack.v2":           "logfile",
}

// free may be imported by every package.
var free = []string{"golang.org/x/sys/unix", "golang.org/x/term"}

// forTests are packages that only tests may import.
var forTests = []string{"suptest", "client/clienttest"}

func TestDependencies(t *testing.T) {
	drawn, edges := readDrawing(t)
	sources := readImports(t)
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if _, ok := drawn[name]; !ok {
			t.Errorf("%s is not in the drawing", name)
		}
	}
	for name := range drawn {
		if _, ok := sources[name]; !ok {
			t.Errorf("the drawing has %s, which is not there", name)
		}
	}

	used := map[string]bool{} // libraries that their package imports
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		for _, i := range sources[name] {
			own, ours := strings.CutPrefix(i.path, "sup/")
			own = strings.TrimPrefix(own, "lib/")
			switch {
			case ours && slices.Contains(forTests, own):
				if !i.test {
					t.Errorf("%s: %s is for tests only", i.at, own)
				}
			case ours && i.test:
				// What a test looks at beside its package is its own affair, but the
				// library knows no tool.
				if isLib(name) && !isLib(own) {
					t.Errorf("%s: %s imports %s: lib never imports a tool", i.at, name, own)
				}
			case ours:
				if !drawn[name][own] {
					t.Errorf("%s: %s imports %s, which is not drawn", i.at, name, own)
				}
			case i.test && i.path == "github.com/rogpeppe/go-internal/testscript":
			case slices.Contains(free, i.path) || !strings.Contains(strings.Split(i.path, "/")[0], "."):
			case libraries[i.path] != name:
				t.Errorf("%s: %s imports %s: %s", i.at, name, i.path, librarian(i.path))
			default:
				used[i.path] = true
			}
		}
	}

	for library, name := range libraries {
		if !used[library] {
			t.Errorf("%s is said to import %s, and does not", name, library)
		}
	}
	needs := reach(sources)
	for _, e := range edges {
		if _, ok := sources[e.importer]; ok && !needs[e.importer][e.imported] {
			t.Errorf("%s < %s is drawn, and nothing in %s needs it", e.imported, e.importer, e.importer)
		}
	}
}

func librarian(path string) string {
	if name, ok := libraries[path]; ok {
		return "only " + name + " may"
	}
	return "nobody is said to"
}

// isLib tells a package of lib from one of a tool.
func isLib(name string) bool {
	tool, _, _ := strings.Cut(name, "/")
	return !slices.Contains([]string{"supd", "supctl", "suplog", "supconf", "suptail"}, tool)
}

// edge is one pair of the drawing.
type edge struct{ imported, importer string }

// readDrawing is the drawing as a map from each package to all that it may
// import, and as pairs.
func readDrawing(t *testing.T) (may map[string]map[string]bool, edges []edge) {
	t.Helper()
	may = map[string]map[string]bool{}
	text := ""
	for line := range strings.Lines(drawing) {
		line, _, _ = strings.Cut(line, "#")
		text += line + "\n"
	}
	for rule := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		var below []string
		for i, column := range strings.Split(rule, "<") {
			var names []string
			for name := range strings.SplitSeq(column, ",") {
				name = strings.TrimSpace(name)
				switch {
				case name == "NONE" && i == 0:
					continue
				case name == "" || strings.ContainsAny(name, " \t\n"):
					t.Fatalf("the drawing has %q where the name of a package is expected", name)
				case i == 0 && may[name] == nil:
					t.Fatalf("the drawing uses %s before saying what it may import", name)
				case may[name] == nil:
					may[name] = map[string]bool{}
				}
				names = append(names, name)
				for _, b := range below {
					edges = append(edges, edge{b, name})
					may[name][b] = true
					maps.Copy(may[name], may[b])
				}
			}
			below = names
		}
	}
	return may, edges
}

// imported is one import that stands in a source file.
type imported struct {
	path string
	at   string // file and line
	test bool   // in a test file
}

// readImports reads the import declarations of all modules, whatever the build
// constraints of their files.
func readImports(t *testing.T) map[string][]imported {
	t.Helper()
	sources := map[string][]imported{}
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name == "testdata" || name != ".." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		name := strings.TrimPrefix(strings.TrimPrefix(dir, "../"), "lib/")
		if !strings.HasSuffix(path, ".go") || name == "lib" {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		list := sources[name]
		for _, spec := range file.Imports {
			word, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			list = append(list, imported{word, files.Position(spec.Pos()).String(), strings.HasSuffix(path, "_test.go")})
		}
		sources[name] = list
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// reach is what each package imports, itself or through others, tests apart.
func reach(sources map[string][]imported) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	var visit func(name string) map[string]bool
	visit = func(name string) map[string]bool {
		if found, ok := all[name]; ok {
			return found
		}
		found := map[string]bool{}
		all[name] = found
		for _, i := range sources[name] {
			if own, ours := strings.CutPrefix(i.path, "sup/"); ours && !i.test {
				own = strings.TrimPrefix(own, "lib/")
				found[own] = true
				maps.Copy(found, visit(own))
			}
		}
		return found
	}
	for name := range sources {
		visit(name)
	}
	return all
}
