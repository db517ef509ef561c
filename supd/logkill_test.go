package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/suptest"
)

// killPause is the time between two kills of suplog.
const killPause = 100 * time.Millisecond

// TestKilledSuplog kills suplog ten times a second while eight programs write
// numbered lines, plain and in all the ways that go through its memory. No line
// is lost, doubled or out of order, and no program notices.
func TestKilledSuplog(t *testing.T) {
	t.Run("rotation", func(t *testing.T) {
		k := newLogKills(t, "2KB")
		for range k.kills {
			pauseFor(t.Context(), killPause)
			k.kill(t)
		}
		backups := k.finish(t)
		if least := amount(2, 50); backups < least {
			t.Errorf("%d backups, want at least %d", backups, least)
		}
	})
	t.Run("rename and SIGUSR2", func(t *testing.T) {
		k := newLogKills(t, "0")
		for i := range k.kills {
			pauseFor(t.Context(), killPause)
			k.rename(t, i)
			if i%2 == 0 {
				k.d.Signal(syscall.SIGUSR2)
				k.kill(t)
			} else {
				k.kill(t)
				k.d.Signal(syscall.SIGUSR2)
			}
		}
		k.finish(t)
	})
	t.Run("rename", func(t *testing.T) {
		k := newLogKills(t, "0")
		for i := range k.kills {
			pauseFor(t.Context(), killPause)
			if i%2 == 0 {
				k.rename(t, i)
			}
			k.kill(t)
		}
		k.finish(t)
	})
}

// logKills is a daemon whose suplog is killed.
type logKills struct {
	d       *suptest.Daemon
	names   []string // of the workers
	kills   int      // to be made
	made    int
	renamed int
	began   time.Time
	// suplog is the one that was killed last.
	suplog int
}

// newLogKills starts workers whose logs are rotated at a size; 0: never.
func newLogKills(t *testing.T, maxbytes string) *logKills {
	t.Helper()
	k := &logKills{kills: amount(12, 200)}
	config := ""
	add := func(name, from, to string) {
		k.names = append(k.names, name)
		section := strings.Replace(workers(t, "200us", name), "maxbytes=64KB", "maxbytes="+maxbytes, 1)
		config += strings.Replace(section, from, to, 1)
	}
	for _, name := range numbered("plain", 4) {
		add(name, "", "")
	}
	const last = "stdout_logfile_backups=5000\n"
	add("events0", last, last+"stdout_events_enabled=true\n")
	add("events1", last, last+"stdout_events_enabled=true\n")
	add("capture", last, last+"stdout_capture_maxbytes=1KB\n")
	add("two", "/two.log\n", "/two.log, %(here)s/copy.log\n")
	k.d = suptest.Start(t, suptest.Options{Config: config})
	k.d.Wait("RUNNING", k.names...)
	k.began = time.Now()
	return k
}

// kill kills the suplog that runs now, as soon as there is one.
func (k *logKills) kill(t *testing.T) {
	t.Helper()
	k.d.Until("there is a new suplog", func() error {
		for _, pid := range childrenOf(k.d.PID()) {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if string(comm) == "suplog\n" && pid != k.suplog {
				k.suplog = pid
				return syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return errors.New("there is none")
	})
	k.made++
}

// rename renames the logs, as logrotate does: those that are there.
func (k *logKills) rename(t *testing.T, i int) {
	t.Helper()
	for _, name := range append([]string{"copy"}, k.names...) {
		path := k.d.Path(name + ".log")
		err := os.Rename(path, fmt.Sprintf("%s.%d", path, 9999-i))
		switch {
		case err == nil:
			k.renamed++
		case !errors.Is(err, os.ErrNotExist):
			t.Fatal(err)
		}
	}
}

// finish stops the workers, looks at all that they wrote, and returns how many
// backups there are of a log.
func (k *logKills) finish(t *testing.T) (backups int) {
	t.Helper()
	took := time.Since(k.began)
	for _, name := range k.names {
		if n := began(t, k.d, name); n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
	k.d.MustCtl("stop", "all")
	lines := workersWell(t, k.d, k.names)
	text, backups := allOf(t, k.d.Path("two.log"))
	if again, _ := allOf(t, k.d.Path("copy.log")); again != text {
		t.Errorf("the two logs of one program have %d and %d bytes", len(text), len(again))
	}
	if k.d.Stop(); strings.Contains(k.d.Log(), "dropped") {
		t.Error("something was dropped")
	}
	t.Logf("%d kills in %v, %d files renamed, %d backups: %d lines of %d programs, none lost, doubled or out of order",
		k.made, took.Round(time.Second), k.renamed, backups, lines, len(k.names))
	return backups
}

// childrenOf are the children of a process.
func childrenOf(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
