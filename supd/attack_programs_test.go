package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
)

// statOf are the fields of /proc/PID/stat, from the state on.
func statOf(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])), nil
}

// children are the processes that have a given parent.
func children(t *testing.T, parent int) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f, err := statOf(pid); err == nil && f[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// terminal is a new pseudo-terminal.
func terminal(t *testing.T) (user *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	user, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { user.Close() })
	return user
}

// Nothing that supd starts in a terminal has it as its controlling terminal, in
// which it could type as the one who has started supd.
func TestAttackTerminal(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Terminal: terminal(t), Config: `[program:a]
command=sh -c '(exec </dev/tty) && echo open >tty || echo closed >tty; exec sleep 1000'
directory=%(here)s
startsecs=0
stdout_logfile=%(here)s/a.log,|cat
[fcgi-program:f]
command=sleep 1000
socket=unix://%(here)s/f.sock
startsecs=0
[eventlistener:l]
command=sh -c 'echo READY; exec sleep 1000'
events=TICK_3600
startsecs=0
`})
	d.Wait("RUNNING", "a", "f:f", "l")
	d.WaitFile("tty", "\n")
	if got := d.ReadFile("tty"); got != "closed\n" {
		t.Errorf("the controlling terminal can be opened: %s", got)
	}
	ours, err := statOf(d.PID())
	if err != nil || ours[4] == "0" {
		t.Fatalf("supd has no controlling terminal: %v, %v", ours, err)
	}
	pids := children(t, d.PID())
	for _, pid := range pids[:len(pids):len(pids)] {
		pids = append(pids, children(t, pid)...)
	}
	var cat bool
	for _, pid := range pids {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		cat = cat || string(comm) == "cat\n"
		if f, err := statOf(pid); err == nil && (f[3] != strconv.Itoa(pid) || f[4] != "0") {
			t.Errorf("%s (pid %d) is in session %s, with terminal %s", strings.TrimSpace(string(comm)), pid, f[3], f[4])
		}
	}
	if len(pids) < 5 || !cat {
		t.Errorf("found only processes %v", pids)
	}
}
