package main

import (
	"strings"
	"testing"
	"time"

	"sup/lib/suptest"
)

// TestManyRestarts restarts one program again and again: what supd and suplog
// hold does not grow with it.
func TestManyRestarts(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:a]
command=cat
startsecs=0
stdout_logfile=%(here)s/a.log
stderr_logfile=%(here)s/a.err
`})
	d.Wait("RUNNING", "a")
	restart := func(n int) {
		for range n {
			if err := d.Client.StopProcess(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if err := d.Client.StartProcess(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The Go runtime takes its time to find the size of its heap.
	restart(amount(100, 1000))
	suplog := suplogOf(t, d)
	was, suplogWas := measure(t, d.PID()), measure(t, suplog)
	restarts := amount(300, 10000)
	began := time.Now()
	restart(restarts)
	took := time.Since(began)
	for line := range strings.Lines(d.Log()) {
		if strings.Contains(line, "suplog") {
			t.Errorf("in the activity log: %s", line)
		}
	}
	now, suplogNow := settled(t, d, d.PID(), was, 0), settled(t, d, suplog, suplogWas, idlePipes)
	for _, c := range []struct {
		name     string
		was, now figures
	}{{"supd", was, now}, {"suplog", suplogWas, suplogNow}} {
		if c.now.threads > c.was.threads+4 || !suptest.Race && c.now.rss > c.was.rss*5/4+4096 {
			t.Errorf("%s grows: %v, then %v", c.name, c.was, c.now)
		}
	}
	noZombies(d)
	onceEach(t, d)
	t.Logf("%d restarts, %v each; supd: %v, then %v; suplog: %v, then %v",
		restarts, (took / time.Duration(restarts)).Round(10*time.Microsecond), was, now, suplogWas, suplogNow)
}
