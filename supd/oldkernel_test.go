package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
)

// asOldKernel makes the test binary put a filter on itself that answers system
// calls as an older kernel would, or a seccomp profile, and become the program that
// realSupd names.
const (
	asOldKernel = "SUPD_TEST_KERNEL"
	realSupd    = "SUPD_TEST_REAL"
)

// kernels are the filters.
var kernels = map[string][]unix.SockFilter{
	// pidfd_open has no flags before 5.10, and what came after 5.4 is not there.
	"5.4": {
		word(0),
		jump(unix.BPF_JGE, 436, 4, 0),
		jump(unix.BPF_JEQ, unix.SYS_PIDFD_OPEN, 0, 4),
		word(24), // the second argument
		jump(unix.BPF_JEQ, 0, 2, 0),
		answer(unix.EINVAL),
		answer(unix.ENOSYS),
		allow,
	},
	// There are no descriptors of processes at all, and no clone3.
	"4.18":    {word(0), jump(unix.BPF_JGE, unix.SYS_PIDFD_SEND_SIGNAL, 0, 1), answer(unix.ENOSYS), allow},
	"profile": {word(0), jump(unix.BPF_JGE, unix.SYS_PIDFD_SEND_SIGNAL, 0, 1), answer(unix.EPERM), allow},
}

var allow = unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}

func word(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(how uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, K: value, Jt: yes, Jf: no}
}

func answer(errno syscall.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

// becomeOldKernel does not return.
func becomeOldKernel(mode string) {
	runtime.LockOSThread()
	filter := kernels[mode]
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err == nil {
		supd := os.Getenv(realSupd)
		os.Unsetenv(asOldKernel)
		os.Unsetenv(realSupd)
		err = syscall.Exec(supd, append([]string{supd}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "cannot imitate an old kernel:", err)
	os.Exit(3)
}

// On a kernel without descriptors of processes, or with older ones, or under a
// profile that forbids them, programs run once after an upgrade and after a daemon
// that was killed; their ends are noticed, signals reach them, and no line is lost.
func TestOldKernels(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the filters are for x86-64")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for mode := range kernels {
		t.Run(mode, func(t *testing.T) {
			if suptest.Race && mode == "profile" {
				t.Skip("the race detector's threads are made by clone3, which glibc does not do without after EPERM")
			}
			t.Parallel()
			env := []string{asOldKernel + "=" + mode, realSupd + "=" + suptest.Tool(t, "supd")}
			suptest.Tool(t, "suplog")
			names := []string{"a", "b", "c"}
			port := suptest.FreePort(t)
			d := suptest.Start(t, suptest.Options{Supd: self, Env: env, Config: workers(t, "2ms", names...) + fmt.Sprintf(`[fcgi-program:f]
socket=tcp://127.0.0.1:%d
command=sleep 1000
startsecs=0
[program:p]
command=sh -c 'while sleep 0.1; do echo beat; done'
stdout_logfile=|sh -c 'echo begun >>piped; while read line; do echo $line >>piped; done'
startsecs=0
`, port)})
			d.Wait("RUNNING", "a", "b", "c", "f", "p")
			beats := func() {
				t.Helper()
				was := strings.Count(fileOf(d, "piped"), "beat")
				d.Until("the logger gets something", func() error {
					if n := strings.Count(fileOf(d, "piped"), "beat"); n <= was {
						return fmt.Errorf("%d", n)
					}
					return nil
				})
			}
			before := pids(t, d)
			same := func(how string) {
				t.Helper()
				after := pids(t, d)
				for name, pid := range before {
					if after[name] != pid {
						t.Errorf("%s: %s had pid %d, has %d", how, name, pid, after[name])
					}
				}
				onceEach(t, d)
			}
			upgrade := func(generation int) {
				t.Helper()
				if text := d.MustCtl("upgrade"); !strings.Contains(text, ", 5 programs kept") {
					t.Errorf("the upgrade says %q", text)
				}
				same("upgrade " + strconv.Itoa(generation))
			}
			// ends has programs end in both ways.
			ends := func() {
				t.Helper()
				d.MustCtl("restart", "b")
				d.Wait("RUNNING", "b")
				was := d.Info("c").PID
				if err := syscall.Kill(was, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				d.Until("c was started again", func() error {
					if i := d.Info("c"); i.StateName != "RUNNING" || i.PID == was {
						return errors.New(i.StateName)
					}
					return nil
				})
				before = pids(t, d)
			}
			upgrade(1)
			ends()
			upgrade(2)
			d.Crash()
			d.Relaunch(env...)
			same("killed")
			ends()
			// Some are children again, and some are not.
			upgrade(4)
			ends()
			beats()
			suplog := suplogOf(t, d)
			if err := syscall.Kill(suplog, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			d.Crash()
			d.Relaunch(env...)
			same("killed with suplog")
			beats()
			if n := strings.Count(fileOf(d, "piped"), "begun"); n > 2 {
				t.Errorf("the logger was started %d times", n)
			}
			d.MustCtl("stop", "f")
			d.MustCtl("start", "f")
			ends()
			quiet(t, d)
			endCheck(t, d, names)
		})
	}
}
