package lib

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// byName are the calls that give a path to the kernel as a whole, or a name to
// be followed. On a path that the configuration names they are safepath's alone.
var byName = map[string][]string{
	"os": {
		"Open", "OpenFile", "OpenRoot", "OpenInRoot", "Create", "CreateTemp", "ReadFile", "WriteFile", "ReadDir", "DirFS", "CopyFS",
		"Stat", "Lstat", "Readlink", "Rename", "Remove", "RemoveAll", "Mkdir", "MkdirAll", "MkdirTemp", "Symlink", "Link",
		"Chmod", "Chown", "Lchown", "Chtimes", "Truncate",
	},
	"unix": {
		"Open", "Openat", "Openat2", "Creat", "Stat", "Lstat", "Fstatat", "Statx", "Statfs", "Access", "Faccessat", "Faccessat2",
		"Readlink", "Readlinkat", "Rename", "Renameat", "Renameat2", "Unlink", "Unlinkat", "Rmdir",
		"Mkdir", "Mkdirat", "Mknod", "Mknodat", "Mkfifo", "Mkfifoat", "Symlink", "Symlinkat", "Link", "Linkat",
		"Chmod", "Fchmodat", "Chown", "Lchown", "Fchownat", "Truncate", "Utimes", "UtimesNanoAt", "Bind", "Connect",
		"Getxattr", "Setxattr", "InotifyAddWatch",
	},
	"fsnotify": {"NewWatcher", "NewBufferedWatcher"},
	"filepath": {"EvalSymlinks", "Walk", "WalkDir", "Glob"},
	"net":      {"DialUnix", "ListenUnix", "ListenUnixgram"},
}

// allowed are the uses that are not safepath's, each with its reason. The key is
// a file and the call, a file, or a folder. It should get shorter: one that nothing
// needs any more must be taken from it.
var allowed = map[string]string{
	// The configuration itself and what it makes of the machine. Whoever can write
	// it, or a directory on the way to it, tells supd what to run; supd warns of that.
	"config/bounds.go":        "reads files of the configuration, of a bounded size and with a bounded wait",
	"config/glob.go":          "looks for files of the configuration",
	"config/include.go":       "reads files of the configuration, and the one that is piped in",
	"config/machine.go":       "reads the accounts, and looks whether a directory for temporary files may be written",
	"config/search.go":        "looks for the configuration where Supervisor does",
	"config/client.go":        "looks whose the configuration is",
	"trust/trust.go":          "reads the accounts, and the numbers of our user namespace",
	"supconf/lint.go":         "looks whether files of the configuration are there",
	"supconf/lint_process.go": "looks whether a program is there, and runs nothing",

	// Programs: what is executed is looked up as the kernel does it.
	"spawn/spawn.go":               "looks for the program that is about to be executed",
	"supd/pidproxy.go os.Stat":     "looks for the program that is about to be executed",
	"supd/pidproxy.go os.ReadFile": "takes a number from what it reads, and looks whom it may signal",
	"supd/boot.go os.Stat":         "looks for suplog's binary",
	"supd/boot.go unix.Access":     "looks for suplog's binary",

	// The kernel's own files.
	"spawn/reap.go":                              "/proc",
	"supd/boot.go os.ReadDir":                    "/proc/self/fd",
	"supd/daemonize.go":                          "/dev/null",
	"supd/internal/cgroup/":                      "cgroup file systems, where only root and the kernel make names",
	"supd/internal/daemon/stream.go unix.Open":   "/proc/self/fd: a pipe of ours",
	"supd/internal/daemon/takeover.go unix.Open": "/proc: a pipe of a process",
	"supd/internal/daemon/upgrade.go os.Open":    "/dev/null",
	"supd/internal/daemon/holding.go":            "/dev/null",
	"supd/internal/suphold/system.go":            "/proc/self/maps",
	"suplog/outage.go":                           "/proc/self/fd: a pipe of ours",
	"watch/watch.go":                             "/proc/self/fd: a file that the caller has open",
	"cli/terminal.go":                            "/dev/tty",
	"supd/internal/fcgi/fcgi.go unix.Bind":       "a TCP address",
	"suplog/syslog.go":                           "the system's log socket, a constant",
	"supd/internal/unixsock/unixsock.go":         "a socket that is held by its directory's descriptor and looked at",

	"spawn/standin.go": "a control group, by its descriptor",

	// What builds sup, and never runs with it.
	"internal/thirdparty/": "reads the sources of the libraries",

	// A directory of our own, with a name that nobody can guess.
	"supd/demo.go": "makes the directory of the demonstration",

	// The state directory.
	"supd/internal/state/": "the state directory by its descriptor, which safepath has walked to and which only we can write; and /proc",
	"logwire/conn.go":      "suplog's socket in the state directory, which only we can write",
}

// elsewhere are packages that are not looked at: they are only for tests.
var elsewhere = []string{"suptest", "client/clienttest"}

// TestPaths keeps the calls by name out of the packages.
func TestPaths(t *testing.T) {
	used := map[string]bool{}
	for _, use := range readUses(t) {
		reasons := 0
		for _, key := range []string{use.file + " " + use.call, use.file, filepath.ToSlash(filepath.Dir(use.file)) + "/"} {
			if allowed[key] != "" {
				used[key] = true
				reasons++
			}
		}
		if reasons == 0 {
			t.Errorf("%s: %s is a call by name, which follows what others put there: use lib/safepath, or add a reason", use.at, use.call)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(allowed)) {
		if !used[key] {
			t.Errorf("%q is allowed, and nothing needs it", key)
		}
	}
}

// use is one call by name.
type use struct{ file, call, at string }

func readUses(t *testing.T) (uses []use) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testdata" || name != ".." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		where := strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(path), "../"), "lib/")
		dir := filepath.ToSlash(filepath.Dir(where))
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || dir == "safepath" || slices.Contains(elsewhere, dir) {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				if call := nameOfCall(n); call != "" {
					uses = append(uses, use{where, call, files.Position(n.Pos()).String()})
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uses
}

// nameOfCall gives "os.Open" for a mention of that function, called or not, and
// "" for what is none of byName.
func nameOfCall(n ast.Node) string {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	of, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	pkg := of.Name
	if pkg == "syscall" {
		pkg = "unix"
	}
	if !slices.Contains(byName[pkg], sel.Sel.Name) {
		return ""
	}
	return of.Name + "." + sel.Sel.Name
}
