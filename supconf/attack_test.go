package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/cli"
	"sup/lib/suptest"
)

// What a hostile, or a broken, configuration may take of the machine.
const (
	mostTime   = 2 * time.Second
	mostMemory = 256 << 10 // in KiB
)

// TestAttackConfig gives supconf files that were made to exhaust the machine or
// to make it wait. Each ends soon, in little memory, and says in one line what
// is wrong if something is.
func TestAttackConfig(t *testing.T) {
	const base = "[supervisord]\nlogfile=%(here)s/supd.log\npidfile=%(here)s/supd.pid\n"
	program := func(keys string) string { return base + "[program:x]\ncommand=/bin/true\n" + keys }
	include := func(files string) string { return base + "[include]\nfiles=" + files + "\n" }
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	procs := func(sections, numprocs int) string {
		return base + many(sections, func(i int) string {
			return fmt.Sprintf("[program:p%d]\ncommand=/bin/true\nprocess_name=%%(program_name)s_%%(process_num)d\nnumprocs=%d\n", i, numprocs)
		})
	}
	const works = ""
	cases := []struct {
		name string
		// text is the configuration, and then the directory that it is in.
		text string
		// want is part of the error, works for none.
		want string
		env  []string
	}{
		{name: "a thousand million processes", text: procs(1, 1_000_000_000), want: "main.conf:7: [program:p0] numprocs: a section cannot make more than"},
		{name: "2,000,000 processes in sections", text: procs(200, 10_000), want: "numprocs: the configuration makes more than 65536 processes"},
		{name: "2,000,000 processes in groups", text: procs(1, 10_000) + many(200, func(i int) string {
			return fmt.Sprintf("[group:g%d]\nprograms=p0\n", i)
		}), want: "the configuration makes more than 65536 processes"},
		{name: "one program named a million times", text: program("numprocs=0\n[group:g]\nprograms=" + strings.Repeat("x,", 1_000_000) + "x\n"),
			want: "the configuration makes more than 65536 processes"},
		{name: "a million programs that do not exist", text: base + "[group:g]\nprograms=" + many(1_000_000, func(i int) string { return fmt.Sprintf("n%d,", i) }) + "\n",
			want: "there is no program"},
		{name: "large numbers", text: program("process_name=%(process_num)d\nnumprocs=2\nnumprocs_start=9223372036854775806\n"), want: works},
		{name: "a value of 128 MB", text: program("environment=A=\"" + strings.Repeat("%(program_name)65536s", 2000) + "\"\n"),
			want: "main.conf:6: [program:x] environment: the value is longer than 1 MB"},
		{name: "a large value for each process", text: program("process_name=%(process_num)d\nnumprocs=10000\nenvironment=A=\"" +
			strings.Repeat("%(program_name)65536s", 10) + "\"\n"), want: "the expanded values of the configuration are longer than 64 MB"},
		{name: "variables that double each other", text: program("environment=A0=\"xxxxxxxxxxxxxxxx\"" + many(40, func(i int) string {
			return fmt.Sprintf(",A%d=\"%%(ENV_A%d)s%%(ENV_A%d)s\"", i+1, i, i)
		}) + "\n"), want: "environment: cannot expand %(ENV_A0)s"},
		{name: "variables that double over the processes", text: program("process_name=%(process_num)d\nnumprocs=100\nenvironment=A=\"%(ENV_B)s\",B=\"%(ENV_A)s%(ENV_A)s\"\n"),
			env: []string{"A=xxxxxxxxxxxxxxxx", "B=x"}, want: works},
		{name: "variables that double over the sections", text: base + many(40, func(i int) string {
			return fmt.Sprintf("[program:x%d]\ncommand=/bin/true\nenvironment=B%d=\"%%(ENV_B%d)s%%(ENV_B%d)s\"\n", i, i+1, i, i)
		}), env: []string{"B0=x"}, want: "cannot expand %(ENV_B1)s"},
		{name: "the daemon's variables for each process", text: "[supervisord]\nlogfile=%(here)s/l\nenvironment=" +
			many(10_000, func(i int) string { return fmt.Sprintf("V%d=1,", i) }) + "\n[program:x]\ncommand=/bin/true\nprocess_name=%(process_num)d\nnumprocs=10000\nenvironment=A=1\n",
			want: "main.conf:3: [supervisord] environment: 10000 variables for each of so many processes are too many"},
		{name: "includes itself", text: include("main.conf %(here)s/*.conf %(here)s/main.conf"), want: works},
		{name: "includes itself a million times", text: include(strings.Repeat("main.conf ", 400_000)), want: "cannot include"},
		{name: "includes nothing a million times", text: include(strings.Repeat("a ", 1_000_000)), want: "there are more than 1000 mistakes"},
		{name: "includes an empty file a million times", text: include(strings.Repeat("null.inc ", 1_000_000)), want: "these are more than 65536 files"},
		{name: "includes a device without end", text: include("/dev/zero"), want: `main.conf:5: [include] files: cannot include "/dev/zero": it is a device`},
		{name: "includes a terminal", text: include("/dev/tty"), want: "it is a device"},
		{name: "includes a device without content", text: include("/dev/null"), want: works},
		{name: "includes a pipe", text: include("fifo"), want: "it is a pipe and not a file"},
		{name: "includes a socket", text: include("socket"), want: "it is a socket and not a file"},
		{name: "includes a directory", text: include("/"), want: works},
		{name: "includes the kernel's log", text: include("/proc/kmsg"), want: "it is a file of /proc"},
		{name: "includes the memory", text: include("/proc/kcore /proc/self/mem"), want: "cannot include"},
		{name: "includes a large file", text: include("large.inc"), want: "the configuration is larger than 16 MB with it"},
		{name: "includes a file often", text: include("medium*.inc medium*.inc medium*.inc"), want: "the configuration is larger than 16 MB with it"},
		{name: "a pattern for the whole machine", text: include("/*/*/*/*/*/*.none /*/*/*/*/*/*/*.none"), want: "the patterns lead to more files than can be looked at"},
		{name: "a pattern of open brackets", text: include(strings.Repeat("[a-", 20_000)), want: "no path is as long as the pattern"},
		{name: "a pattern that goes back", text: include(strings.Repeat("*a", 2_000) + "b"), want: works},
		{name: "a pattern of classes", text: include(strings.Repeat("*[!z]", 700) + "b"), want: works},
		{name: "a value of 300,000 lines", text: program(strings.Repeat("  line\n", 300_000)), want: works},
		{name: "600,000 lines", text: base + strings.Repeat("a=\n", 600_000), want: "main.conf:500001: the configuration has more than 500000 lines"},
		{name: "100,000 sections", text: base + many(100_000, func(i int) string { return fmt.Sprintf("[x%d]\n", i) }), want: works},
		{name: "defaults for many sections", text: base + many(10_000, func(i int) string { return fmt.Sprintf("[x%d]\n", i) }) +
			"[DEFAULT]\n" + many(10_000, func(i int) string { return fmt.Sprintf("k%d=%%(here)s\n", i) }), want: "[DEFAULT]"},
		{name: "defaults that tell where they are", text: "[supervisord]\nlogfile=%(here)s/l\n[include]\nfiles=null.inc\n" + many(10_000, func(i int) string { return fmt.Sprintf("[x%d]\n", i) }) +
			"[DEFAULT]\n" + many(10_000, func(i int) string { return fmt.Sprintf("k%d=%%(here)s\n", i) }), want: "the configuration has more than 500000 lines"},
		{name: "a million bad lines", text: base + "[a]\n" + strings.Repeat("bad\n", 1_000_000), want: "cannot read the line"},
		{name: "a bad value in each section", text: base + many(50_000, func(i int) string {
			return fmt.Sprintf("[program:p%d]\ncommand=/bin/true\nstartsecs=no\n", i)
		}), want: "startsecs"},
		{name: "parentheses", text: program("directory=" + strings.Repeat("(", 100_000) + "%" + strings.Repeat("(", 100_000)), want: "the parenthesis is not closed"},
		{name: "absurd sizes", text: program("stdout_capture_maxbytes=100GB\nstdout_logfile_maxbytes=99999999999TB\nstopwaitsecs=99999999999999\n"), want: "stdout_logfile_maxbytes"},
		{name: "a large file", text: strings.Repeat("; nothing\n", 2<<20), want: "the file is too large"},
		{name: "a NUL", text: "[supervisord]\x00\nlogfile=%(here)s/l\n", want: works},
	}
	for i := range cases {
		dir := t.TempDir()
		hostileDir(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "main.conf"), []byte(cases[i].text), 0o600); err != nil {
			t.Fatal(err)
		}
		cases[i].text = dir
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			for _, verb := range []string{"dump", "lint"} {
				attackConfig(t, verb, filepath.Join(tt.text, "main.conf"), tt.env, tt.want)
			}
		})
	}
}

// hostileDir makes the files that the cases include.
func hostileDir(t *testing.T, dir string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(dir, name) }
	medium := []byte("[a]\nx=" + strings.Repeat("x", 4<<20) + "\n")
	if err := errors.Join(
		os.WriteFile(path("null.inc"), nil, 0o600),
		os.WriteFile(path("large.inc"), nil, 0o600),
		os.Truncate(path("large.inc"), 3<<30),
		os.WriteFile(path("medium1.inc"), medium, 0o600),
		os.Symlink("medium1.inc", path("medium2.inc")),
		unix.Mkfifo(path("fifo"), 0o600),
		unix.Mknod(path("socket"), unix.S_IFSOCK|0o600, 0),
	); err != nil {
		t.Fatal(err)
	}
}

// attackConfig lets supconf look at a file, and judges what that took.
func attackConfig(t *testing.T, verb, file string, env []string, want string) {
	t.Helper()
	figures, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer figures.Close()
	var out, errs bytes.Buffer
	cmd := exec.Command(measureName, suptest.PlainTool(t, "supconf"), verb, "-c", file)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &errs, []*os.File{theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	var usage syscall.Rusage
	measured := json.NewDecoder(figures).Decode(&usage)
	_ = cmd.Wait()
	if measured != nil {
		t.Fatalf("supconf %s: no figures: %v: %s", verb, measured, errs.String())
	}
	spent := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	t.Logf("%s: %v, %d MB", verb, spent.Round(time.Millisecond), usage.Maxrss>>10)
	if spent > mostTime || usage.Maxrss > mostMemory {
		t.Errorf("supconf %s took %v and %d MB", verb, spent, usage.Maxrss>>10)
	}
	if strings.Contains(errs.String(), "goroutine ") {
		t.Errorf("supconf %s: %.2000s", verb, errs.String())
	}
	text := out.String() + errs.String()
	if code := cmd.ProcessState.ExitCode(); (want != "") != (code != 0) && (verb == "dump" || want != "") {
		t.Errorf("supconf %s ended with %d: %.1000s", verb, code, text)
	}
	if verb == "lint" && !strings.Contains(strings.ReplaceAll(text, "error: ", ""), want) {
		t.Errorf("supconf lint does not say %q: %.1000s", want, text)
	}
}

// measureName is a command that runs another one, see measure.
const measureName = "measure-supconf"

// measure runs the command that its arguments are, and writes what that has used to
// descriptor 3. What a process has used before it executes a program counts as the
// program's, so whoever wants the figures must be small himself.
func measure() {
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		fmt.Fprintf(os.Stderr, "it has not ended in time: %v\n", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.NewFile(3, "figures")).Encode(cmd.ProcessState.SysUsage())
	os.Exit(cmd.ProcessState.ExitCode())
}

// Lint says of root's programs and files who else could change them.
func TestAttackLint(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have strangers")
	}
	const stranger = 65534
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := "[supervisord]\nlogfile=" + path("l") + "\n"
	for _, name := range []string{"mine", "his", "nobodys", "roots"} {
		text += "[program:" + name + "]\ncommand=" + path(name+"/run") + "\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
		if err := errors.Join(os.Mkdir(path(name), 0o755), os.WriteFile(path(name+"/run"), []byte("#!/bin/sh\n"), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	text = strings.Replace(text, "[program:nobodys]\n", "[program:nobodys]\nuser=65534\n", 1)
	text = strings.Replace(text, "[program:roots]\n", "[program:roots]\nuser=root\n", 1)
	file := path("supervisord.conf")
	if err := errors.Join(os.Chown(path("his/run"), stranger, stranger), os.Chown(path("nobodys"), stranger, stranger), os.Chmod(path("roots"), 0o777),
		os.WriteFile(file, []byte(text), 0o664), os.Chmod(file, 0o664), os.Chown(file, 0, stranger)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	run(cli.Streams{Out: &out, Err: &out}, []string{"supconf", "lint", "-c", file})
	want := file + ":1: warning: the file " + file + " is writable by group 65534, who can so run programs as root; hint: have it where only root can write\n" +
		file + ":8: warning: [program:his] command: root runs " + path("his/run") + ", but the file " + path("his/run") +
		" belongs to user 65534, who can become root so; hint: write user = NAME, or have it where only root can write\n" +
		file + ":18: warning: [program:roots] command: root runs " + path("roots/run") + ", but the directory " + path("roots") +
		" is writable by every user, who can become root so; hint: write user = NAME, or have it where only root can write\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestLintRefusedLogs tells beforehand of logs that root's daemon would refuse.
func TestLintRefusedLogs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have strangers")
	}
	dir, err := os.MkdirTemp("/run", "supconf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	text := "[supervisord]\nlogfile=" + at("supd.log") +
		"\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n" +
		"[program:his]\ncommand=/bin/cat\nstdout_logfile=" + at("home/his.log") + "\nstderr_logfile=" + at("home/old.log") +
		"\n[program:roots]\ncommand=/bin/cat\nnumprocs=2\nprocess_name=%(process_num)d\nstdout_logfile=" + at("home/roots/%(process_num)d.log") + "\n"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(at("s.conf"), []byte(text), 0o600), os.MkdirAll(at("home/roots"), 0o755),
		os.WriteFile(at("home/old.log"), nil, 0o600), os.Chown(at("home"), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	run(cli.Streams{Out: &out, Err: &out}, []string{"supconf", "lint", at("s.conf")})
	log := at("home/roots/0.log")
	want := at("s.conf") + ":13: error: [program:roots] stdout_logfile: the log " + log + " cannot be written: " + log +
		" is not permitted to user nobody, to whom " + at("home") + " belongs and as whom, without supplementary groups, everything below it is done; hint: give " +
		at("home/roots") + " to that user, or let " + at("home") + " belong to root\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if names, err := os.ReadDir(at("home/roots")); err != nil || len(names) > 0 {
		t.Errorf("lint has made %v (%v)", names, err)
	}
}

// TestAttackLintAccess asks who can change the files that say who a client is.
func TestAttackLintAccess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have strangers")
	}
	dir := t.TempDir()
	file, users := filepath.Join(dir, "supervisord.conf"), filepath.Join(dir, "users")
	text := "[supervisord]\n[inet_http_server]\nport=127.0.0.1:9001\nusers_file=" + users + "\n"
	hash := "joe:{SHA}" + strings.Repeat("0", 40) + "\n"
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(users, []byte(hash), 0o600), os.Chown(users, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	run(cli.Streams{Out: &out, Err: &out}, []string{"supconf", "lint", "-c", file})
	want := file + ":4: warning: [inet_http_server] users_file: the file " + users + " belongs to user 65534, who can so let himself in; hint: have it where only root can write\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if err := os.Chown(users, 0, 0); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	run(cli.Streams{Out: &out, Err: &out}, []string{"supconf", "lint", "-c", file})
	if strings.Contains(out.String(), "let himself in") {
		t.Errorf("of root's own files: %s", out.String())
	}
}
