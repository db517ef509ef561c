package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sup/lib/rpc"
	"sup/lib/suptest"
)

// Listeners and programs that break the protocol in every way, all at once, neither
// make the daemon large, nor keep others from being answered, nor fill its log.
func TestAttackListeners(t *testing.T) {
	var config strings.Builder
	var names []string
	for _, kind := range []string{"junk", "ready", "bytes", "noline", "huge", "mega", "negative", "reject", "deaf"} {
		names = append(names, kind)
		fmt.Fprintf(&config, "[eventlistener:%s]\ncommand=%s break %[1]s\nevents=TICK_5,PROCESS_STATE,PROCESS_COMMUNICATION,PROCESS_LOG,REMOTE_COMMUNICATION\n"+
			"buffer_size=10\nautostart=false\nautorestart=false\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n", kind, worker(t))
	}
	for _, kind := range []string{"open", "nest", "many", "split"} {
		names = append(names, kind)
		fmt.Fprintf(&config, "[program:%s]\ncommand=%s break %[1]s\nstdout_capture_maxbytes=1MB\nstdout_events_enabled=true\n"+
			"autostart=false\nautorestart=false\nstartsecs=0\nstdout_logfile=/dev/null\nstdout_logfile_maxbytes=0\nstderr_logfile=NONE\n", kind, worker(t))
	}
	d := suptest.Start(t, suptest.Options{Config: config.String()})
	for _, name := range names {
		d.MustCtl("start", name)
	}
	var took []time.Duration
	// As many as a slow machine makes in a while.
	const most = 300
	for i, end := 0, time.Now().Add(20*time.Second); i < most && time.Now().Before(end); i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		begin := time.Now()
		err := d.Client.Call(ctx, nil, "supervisor.sendRemoteCommEvent", "test", fmt.Sprint(i))
		var state rpc.State
		if err == nil {
			err = d.Client.Call(ctx, &state, "supervisor.getState")
		}
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	p95 := took[len(took)*95/100]
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var peak int
	if _, err := fmt.Sscan(rest, &peak); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		d.MustCtl("stop", name)
	}
	log := d.Log()
	t.Logf("two calls of %d take %v (p95), %d MB at most, %d bytes of log", len(took), p95, peak>>10, len(log))
	// The race detector makes each of a dozen busy processes many times as slow.
	if !suptest.Race && p95 > time.Second {
		t.Errorf("two calls take %v", p95)
	}
	if !suptest.Race && peak > 192<<10 {
		t.Errorf("the daemon has had %d MB", peak>>10)
	}
	if len(log) > 200_000 {
		t.Errorf("the activity log has %d bytes: %.5000s", len(log), log)
	}
	for _, want := range []string{"junk: has entered the UNKNOWN state", "pool deaf event buffer overflowed, discarding event", "reject: event was rejected"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the activity log", want)
		}
	}
}
