package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sup/lib/cli"
	"sup/lib/plan"
)

// thousand is a file with 1000 programs, each with the keys that such sections
// have in practice.
func thousand(b *testing.B) string {
	b.Helper()
	var text strings.Builder
	text.WriteString("[supervisord]\nlogfile=%(here)s/supd.log\npidfile=%(here)s/supd.pid\n" +
		"[unix_http_server]\nfile=%(here)s/supd.sock\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "\n[program:web%04d]\n"+
			"command=/bin/sleep %%(ENV_SECONDS)s ; until it is told otherwise\n"+
			"directory=/\n"+
			"environment=PORT=\"%d\",NAME=\"%%(program_name)s\"\n"+
			"autorestart=unexpected\n"+
			"exitcodes=0,2\n"+
			"stdout_logfile=%%(here)s/%%(program_name)s.log\n"+
			"stdout_logfile_maxbytes=10MB\n"+
			"redirect_stderr=true\n", i, 8000+i)
	}
	path := filepath.Join(b.TempDir(), "supervisord.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Setenv("SECONDS", "1000")
	return path
}

// BenchmarkRead1000 is what every tool does first: from the file to a plan.
func BenchmarkRead1000(b *testing.B) {
	path := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plan.Load(plan.Options{File: path}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLint1000 is "supconf lint" without the start of a process.
func BenchmarkLint1000(b *testing.B) {
	path := thousand(b)
	var out strings.Builder
	for b.Loop() {
		out.Reset()
		std := cli.Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard}
		if status := run(std, []string{"supconf", "lint", "-c", path}); status != exitOK {
			b.Fatalf("exit status %d\n%s", status, out.String())
		}
	}
}
