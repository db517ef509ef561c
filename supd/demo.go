package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

//go:embed demo.conf
var demoConf []byte

// demoFlag runs the demo. It is looked for before the options are read, and
// taken only alone and in full, so that it makes no abbreviation ambiguous.
const demoFlag = "--demo"

// demo runs supd on its demo configuration in a temporary directory, which is
// removed at the end.
func demo(prog string, stdout, stderr io.Writer) int {
	dir, err := os.MkdirTemp("", "sup-demo-")
	if err != nil {
		fmt.Fprintf(stderr, "Error: cannot make a directory for the demo: %v\n", err)
		return 1
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "supervisord.conf")
	if err := os.WriteFile(conf, demoConf, 0o600); err != nil {
		fmt.Fprintf(stderr, "Error: cannot write the demo's configuration: %v\n", err)
		return 1
	}
	supctl := "supctl"
	if self, err := os.Executable(); err == nil {
		supctl = filepath.Join(filepath.Dir(self), "supctl")
	}
	fmt.Fprintf(stdout, "The demo runs until you press Ctrl-C. In another terminal, try:\n\n"+
		"  %[1]s -c %[2]s status\n  %[1]s -c %[2]s            (a shell; say help)\n\n", supctl, conf)
	return run([]string{prog, "-c", conf}, stdout, stderr)
}
