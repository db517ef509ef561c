package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/suptest"
)

// TestListenerKilled kills an event listener again and again, at random moments,
// while events come. It gets every event, except those of which the activity log
// says that the buffer was full, and it gets them in order; only one that it was
// busy with when it was killed may come twice. Another pool does not notice.
// SUP_SEED repeats the choices of a run, though not their order in time.
func TestListenerKilled(t *testing.T) {
	for name, buffer := range map[string]int{"roomy": 1_000_000, "tight": 20} {
		t.Run(name, func(t *testing.T) { listenerKilled(t, buffer) })
	}
}

func listenerKilled(t *testing.T, buffer int) {
	chance := seeded(t)
	const section = `[eventlistener:%[1]s]
command=%[2]s listen %%(here)s/%[1]s.events
events=REMOTE_COMMUNICATION
buffer_size=%[3]d
startsecs=0
autorestart=true
`
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf(section, "victim", worker(t), buffer) +
		fmt.Sprintf(section, "calm", worker(t), 1_000_000)})
	d.Wait("RUNNING", "victim", "calm")

	events := amount(3000, 100_000)
	kills := publishAndKill(t, d, chance, events)
	if err := d.Client.Call(t.Context(), nil, "supervisor.sendRemoteCommEvent", "last", ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"victim", "calm"} {
		d.Until(name+" has had the last event", func() error {
			if !endsWith(d.Path(name+".events"), "\ttype:last\n") {
				return errors.New("not yet")
			}
			return nil
		})
	}

	// What was left out of the log is told at the end.
	text, calm := d.ReadFile("victim.events"), d.ReadFile("calm.events")
	d.Stop()
	discarded := 0
	for line := range strings.Lines(d.Log()) {
		if _, rest, ok := strings.Cut(line, "pool victim event buffer overflowed, discarding event "); ok {
			discarded++
			if _, more, ok := strings.Cut(rest, " ("); ok {
				n, err := strconv.Atoi(strings.TrimSuffix(more, " lines like this one were left out before it)\n"))
				if err != nil {
					t.Errorf("in the activity log: %s", line)
				}
				discarded += n
			}
		}
	}
	if buffer > events && discarded > 0 {
		t.Errorf("%d events were discarded, with room for %d", discarded, buffer)
	}
	twice, missing := checkDelivery(t, text, events+1)
	if missing > discarded {
		t.Errorf("%d events are missing, and %d were discarded", missing, discarded)
	}
	if twice > kills {
		t.Errorf("%d events came twice, but the listener was killed only %d times", twice, kills)
	}
	if twice, missing := checkDelivery(t, calm, events+1); twice+missing > 0 {
		t.Errorf("the listener that was not killed got %d events twice, and missed %d", twice, missing)
	}
	t.Logf("%d events; the listener was killed %d times, got %d twice, and missed %d", events, kills, twice, discarded)
}

// publishAndKill publishes events and kills the listener now and then. It
// returns how often.
func publishAndKill(t *testing.T, d *suptest.Daemon, chance *rand.Rand, events int) (kills int) {
	t.Helper()
	next := chance.IntN(50)
	for i := range events {
		if err := d.Client.Call(t.Context(), nil, "supervisor.sendRemoteCommEvent", "test", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		if i < next {
			continue
		}
		next = i + chance.IntN(200)
		if pid := d.Info("victim").PID; pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			kills++
		}
	}
	return kills
}

// checkDelivery looks whether a listener got n events in order. It returns how
// many came twice in a row, and how many did not come.
func checkDelivery(t *testing.T, text string, n int) (twice, missing int) {
	t.Helper()
	next := 0
	for line := range strings.Lines(text) {
		header, _, _ := strings.Cut(line, "\t")
		h := tokens(header)
		serial, err := strconv.Atoi(h["serial"])
		if err != nil || h["serial"] != h["poolserial"] {
			t.Fatalf("a listener noted %q", line)
		}
		if serial == next-1 {
			twice++
			continue
		}
		if serial < next {
			t.Errorf("event %d came after event %d", serial, next-1)
			continue
		}
		missing += serial - next
		next = serial + 1
	}
	if next != n {
		t.Errorf("the last event was %d, not %d", next-1, n-1)
	}
	return twice, missing
}

// endsWith tells whether a file ends in text.
func endsWith(path, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	end := make([]byte, len(text))
	stat, err := f.Stat()
	if err != nil || stat.Size() < int64(len(text)) {
		return false
	}
	_, err = f.ReadAt(end, stat.Size()-int64(len(text)))
	return err == nil && string(end) == text
}

// BenchmarkEvents is how many events a second a listener gets that does nothing
// but answer: events that wait for it when it is started.
func BenchmarkEvents(b *testing.B) {
	const waiting = 20_000
	d := suptest.Start(b, suptest.Options{Config: fmt.Sprintf(`[eventlistener:ear]
command=%s answer %%(here)s/answer
events=REMOTE_COMMUNICATION
buffer_size=%d
startsecs=0
autostart=false
stdout_logfile=NONE
`, worker(b), waiting+1)})
	var count, nanoseconds float64
	for b.Loop() {
		b.StopTimer()
		_ = os.Remove(d.Path("answer"))
		remote := func(kind string) {
			if err := d.Client.Call(b.Context(), nil, "supervisor.sendRemoteCommEvent", kind, "processname:p groupname:g from_state:STARTING pid:4711"); err != nil {
				b.Fatal(err)
			}
		}
		for range waiting {
			remote("test")
		}
		remote("end")
		b.StartTimer()
		if err := d.Client.StartProcess(b.Context(), "ear"); err != nil {
			b.Fatal(err)
		}
		d.WaitFile("answer", "\n")
		b.StopTimer()
		var n, ns float64
		if _, err := fmt.Sscan(d.ReadFile("answer"), &n, &ns); err != nil || n != waiting {
			b.Fatalf("got %q, %v", d.ReadFile("answer"), err)
		}
		count, nanoseconds = count+n, nanoseconds+ns
		if err := d.Client.StopProcess(b.Context(), "ear"); err != nil && !isFault(err) {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(count/nanoseconds*1e9, "events/s")
}

// BenchmarkLogEvents is what supd and suplog use for 20 programs with 1000 lines a
// second each, all of which a listener gets to see.
func BenchmarkLogEvents(b *testing.B) {
	d := suptest.Start(b, suptest.Options{Config: fmt.Sprintf(`[eventlistener:ear]
command=%s answer %%(here)s/answer
events=PROCESS_LOG
buffer_size=1000000
startsecs=0
[program:p]
command=%[1]s say 1000
process_name=p%%(process_num)d
numprocs=20
startsecs=0
stdout_events_enabled=true
stdout_logfile=%%(here)s/p%%(process_num)d.log
`, worker(b))})
	d.Wait("RUNNING", "ear", "p:p19")
	pids := []int{d.PID(), logger(b, d.PID())}
	var cpu, wall time.Duration
	for b.Loop() {
		before, start := cpuTime(b, pids), time.Now()
		<-time.After(3 * time.Second)
		cpu += cpuTime(b, pids) - before
		wall += time.Since(start)
	}
	b.ReportMetric(0, "ns/op") // it would be the three seconds
	b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "cpu-%")
}
