package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/suptest"
	"sup/supd/internal/crash"
)

// workers makes sections for workers that write numbered lines. Their logs
// rotate, and nothing of them is thrown away.
func workers(t *testing.T, pause string, names ...string) (config string) {
	t.Helper()
	for _, name := range names {
		config += fmt.Sprintf(`[program:%s]
command=%s lines %s
environment=WORKER_PAUSE="%s"
directory=%%(here)s
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile=%%(here)s/%s.log
stdout_logfile_maxbytes=64KB
stdout_logfile_backups=5000
`, name, worker(t), name, pause, name)
	}
	return config
}

// busyPause is the pause of 50 workers at a time. With it they and their
// clients, which make none, use up two processors.
const busyPause = "2ms"

// numbered are names such as "steady0".
func numbered(name string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(name, i))
	}
	return names
}

// load is clients that restart some programs and look at all, again and again.
// They bear with a daemon that is away.
type load struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	calls atomic.Int64
	// refused counts connections that nobody took.
	refused atomic.Int64
	// calm is held for reading during each call.
	calm sync.RWMutex
}

// calmly calls f when no program is being stopped or started: once a program has
// ended supd gives its pipe up, and what suplog has not taken from there yet, it
// takes with it when it is killed in that moment.
func (l *load) calmly(t *testing.T, d *suptest.Daemon, f func()) {
	t.Helper()
	l.calm.Lock()
	defer l.calm.Unlock()
	for {
		infos, err := d.Client.AllProcessInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(infos, func(i rpc.ProcessInfo) bool { return i.StateName == "STOPPING" || i.StateName == "STARTING" }) {
			break
		}
		pauseFor(t.Context(), time.Millisecond)
	}
	f()
}

func underLoad(t *testing.T, d *suptest.Daemon, clients int, restarted []string) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	for i := range clients {
		l.ended.Go(func() {
			c, err := client.New("unix://"+d.Path("supd.sock"), nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for n := i; ctx.Err() == nil; n++ {
				var err error
				l.calm.RLock()
				name := restarted[n%len(restarted)]
				switch n % 4 {
				case 0:
					err = c.StopProcess(ctx, name)
				case 1:
					err = c.StartProcess(ctx, name)
				case 2:
					_, err = c.AllProcessInfo(ctx)
				default:
					_, err = c.ProcessInfo(ctx, name)
					c.Close() // connect anew
				}
				l.calm.RUnlock()
				l.calls.Add(1)
				if errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrNoSocket) {
					l.refused.Add(1)
					pauseFor(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	t.Cleanup(l.finish)
	return l
}

func (l *load) finish() {
	l.stop()
	l.ended.Wait()
}

// pauseFor waits for a time that is part of the test, not for something to
// happen.
func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// seeded is a source of chance that can be had again with SUP_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SUP_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("SUP_SEED: %v", err)
		}
	}
	t.Logf("SUP_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// launches are the times from the launch of a daemon to the answer that all
// its programs run.
type launches []time.Duration

func (l launches) String() string {
	s := slices.Sorted(slices.Values(l))
	return fmt.Sprintf("median %v, worst %v", s[len(s)/2].Round(time.Millisecond), s[len(s)-1].Round(time.Millisecond))
}

// TestKilledDaemon kills supd at random moments under load, every fourth time
// together with suplog. Programs neither end nor start for it, and no line is
// lost.
func TestKilledDaemon(t *testing.T) {
	chance := seeded(t)
	steady, restarted := numbered("steady", amount(6, 40)), numbered("restarted", amount(3, 10))
	all := slices.Concat(steady, restarted)
	d := suptest.Start(t, suptest.Options{Config: workers(t, busyPause, all...)})
	d.Wait("RUNNING", all...)
	before := pids(t, d)
	l := underLoad(t, d, amount(3, 8), restarted)

	var back launches
	kills := amount(10, 200)
	for i := range kills {
		pauseFor(t.Context(), time.Duration(chance.IntN(300))*time.Millisecond)
		if i%4 == 3 {
			l.calmly(t, d, func() {
				suplog := suplogOf(t, d)
				if err := syscall.Kill(suplog, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				d.Crash()
			})
		} else {
			d.Crash()
		}
		launched := time.Now()
		d.Relaunch()
		d.Until("all programs run", func() error { return allRunning(t, d, steady) })
		back = append(back, time.Since(launched))
	}
	l.finish()
	after := pids(t, d)
	for _, name := range steady {
		if before[name] != after[name] || began(t, d, name) != 1 {
			t.Errorf("%s had pid %d, has %d, and was started %d times", name, before[name], after[name], began(t, d, name))
		}
	}
	if g, err := d.Client.Generation(t.Context()); err != nil || g.Generation != kills {
		t.Errorf("generation %d (%v) after %d kills", g.Generation, err, kills)
	}
	quiet(t, d)
	onceEach(t, d)
	d.MustCtl("stop", "all")
	t.Logf("%d kills, %d calls: RUNNING after %v; %d lines, none lost", kills, l.calls.Load(), back, workersWell(t, d, all))
}

// allRunning asks once whether all of the named processes run.
func allRunning(t *testing.T, d *suptest.Daemon, names []string) error {
	infos, err := d.Client.AllProcessInfo(t.Context())
	for _, i := range infos {
		if slices.Contains(names, i.Name) && i.StateName != "RUNNING" {
			return fmt.Errorf("%s is %s", i.Name, i.StateName)
		}
	}
	return err
}

// pids are the pids of all processes by name.
func pids(t *testing.T, d *suptest.Daemon) map[string]int {
	t.Helper()
	infos, err := d.Client.AllProcessInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, i := range infos {
		found[i.Name] = i.PID
	}
	return found
}

// TestUpgradesInARow upgrades in place under load: the daemon keeps its pid,
// programs stay, no connection is refused, no line is lost, nothing leaks.
func TestUpgradesInARow(t *testing.T) {
	steady, restarted := numbered("steady", amount(6, 40)), numbered("restarted", amount(3, 10))
	all := slices.Concat(steady, restarted)
	d := suptest.Start(t, suptest.Options{Config: workers(t, busyPause, all...)})
	d.Wait("RUNNING", all...)
	before := pids(t, d)
	upgrade := func(generation int) {
		d.MustCtl("upgrade")
		d.Until("the next image is there", func() error {
			g, err := d.Client.Generation(t.Context())
			if err == nil && g.Generation != generation {
				err = fmt.Errorf("generation %d", g.Generation)
			}
			return err
		})
	}
	upgrade(1)
	d.Client.Close()
	quiet(t, d)
	was, suplogWas := measure(t, d.PID()), measure(t, suplogOf(t, d))

	l := underLoad(t, d, amount(3, 8), restarted)
	listener := connecting(t, d)
	upgrades := amount(5, 50)
	for i := range upgrades {
		upgrade(i + 2)
	}
	l.finish()
	connections := listener()
	if n := l.refused.Load(); n > 0 {
		t.Errorf("%d of %d calls were refused", n, l.calls.Load())
	}
	after := pids(t, d)
	for _, name := range steady {
		if before[name] != after[name] || began(t, d, name) != 1 {
			t.Errorf("%s had pid %d, has %d, and was started %d times", name, before[name], after[name], began(t, d, name))
		}
	}
	quiet(t, d)
	onceEach(t, d)
	noZombies(d)
	for _, name := range restarted {
		if err := d.Client.StartProcess(t.Context(), name); err != nil && !isFault(err) {
			t.Error(err)
		}
	}
	now := settled(t, d, d.PID(), was, 0)
	suplogNow := settled(t, d, suplogOf(t, d), suplogWas, idlePipes)
	d.MustCtl("stop", "all")
	lines := workersWell(t, d, all)
	t.Logf("%d upgrades, %d calls, %d connections, none refused; %d lines, none lost; supd: %v, then %v; suplog: %v, then %v",
		upgrades, l.calls.Load(), connections, lines, was, now, suplogWas, suplogNow)
}

// idlePipes is how many descriptors suplog may keep of the pipes with which it
// looks into streams to rotate their logs: four pipes, made when first needed.
const idlePipes = 8

// settled waits until a process has no more descriptors than it had, and those
// that it may have more.
func settled(t *testing.T, d *suptest.Daemon, pid int, was figures, more int) (now figures) {
	t.Helper()
	d.Until("the descriptors are as before", func() error {
		if now = measure(t, pid); now.fds > was.fds+more {
			return fmt.Errorf("there are %d, there were %d:\n%s", now.fds, was.fds, descriptors(pid))
		}
		return nil
	})
	return now
}

// descriptors tells what a process has open, each kind with its number.
func descriptors(pid int) string {
	kinds := map[string]int{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		kind, _, _ := strings.Cut(target, ":[")
		kinds[kind]++
	}
	var text []string
	for kind, n := range kinds {
		text = append(text, fmt.Sprint(kind, " ", n))
	}
	slices.Sort(text)
	return strings.Join(text, "\n")
}

// connecting connects again and again without a pause, until the function that
// it returns is called, which tells how often.
func connecting(t *testing.T, d *suptest.Daemon) func() int {
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	n := 0
	ended.Go(func() {
		for ; ctx.Err() == nil; n++ {
			c, err := net.Dial("unix", d.Path("supd.sock"))
			if err != nil {
				t.Errorf("connection %d: %v", n, err)
				return
			}
			c.Close()
			pauseFor(ctx, time.Millisecond)
		}
	})
	return func() int {
		stop()
		ended.Wait()
		return n
	}
}

// crashingDaemon is supd with the points of internal/crash, in a directory
// with suplog.
func crashingDaemon(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(suptest.Tool(t, "suplog"), filepath.Join(dir, "suplog")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "supd")
	cmd := exec.Command("go", "build", "-tags", "crashpoints", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build supd with crash points: %v\n%s", err, output)
	}
	return path
}

// TestCrashPoints ends supd at every point where it could have left something
// half done, the first time that it gets there and a later time, and looks
// whether the next one finds its way.
func TestCrashPoints(t *testing.T) {
	supd := crashingDaemon(t)
	for _, point := range crash.Points {
		for _, time := range []string{":1", ":2", ":3"} {
			// Changes in a burst are saved once, so there need not be a third time.
			rare := time == ":3" && strings.HasSuffix(point, "-save")
			if point != crash.BeforeExec && !rare {
				t.Run("start/"+point+time, func(t *testing.T) {
					t.Parallel()
					crashAtStart(t, supd, point+time)
				})
			}
		}
		for _, time := range []string{":1", ":2"} {
			if point == crash.BeforeExec && time == ":2" {
				continue // the image after the first counts anew
			}
			t.Run("later/"+point+time, func(t *testing.T) {
				t.Parallel()
				crashLater(t, supd, point+time)
			})
		}
	}
}

// crashAtStart has the very first daemon crash while it starts its programs.
func crashAtStart(t *testing.T, supd, point string) {
	names := numbered("p", 3)
	d := suptest.Start(t, suptest.Options{
		Config: workers(t, "1ms", names...) + stoppedProgram, Supd: supd, Doomed: true, Env: []string{"SUPD_CRASH=" + point},
	})
	if strings.HasPrefix(point, crash.AfterReap) {
		// Nothing ends by itself.
		d.Until("the program to be killed runs", func() error { return stopByRPC(t, d, "p0", "p1", "p2") })
	}
	d.AwaitEnd()
	d.Relaunch()
	if strings.HasPrefix(point, crash.AfterReap) {
		// Stopping it was not finished; it is stopped now.
		d.MustCtl("start", "all")
		endCheck(t, d, names)
		return
	}
	d.Wait("RUNNING", names...)
	d.Wait("STOPPED", "stopped")
	for _, name := range names {
		d.Until(name+" has begun", func() error {
			if began(t, d, name) == 0 {
				return errors.New("not yet")
			}
			return nil
		})
		if n := began(t, d, name); n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
	endCheck(t, d, names)
}

const stoppedProgram = "[program:stopped]\ncommand=sleep 1000\nautostart=false\n"

// stopByRPC stops programs one by one until the daemon is gone.
func stopByRPC(t *testing.T, d *suptest.Daemon, names ...string) error {
	for _, name := range names {
		err := d.Client.StopProcess(t.Context(), name)
		if errors.Is(err, client.ErrNoSocket) {
			return err // not there yet
		}
	}
	return nil
}

// crashLater has a daemon crash that has taken over from one before: during
// that, or when a program is restarted or an upgrade is asked for.
func crashLater(t *testing.T, supd, point string) {
	steady := numbered("p", 3)
	all := append(slices.Clone(steady), "restarted")
	d := suptest.Start(t, suptest.Options{Config: workers(t, "1ms", all...) + stoppedProgram, Supd: supd})
	d.Wait("RUNNING", all...)
	for _, name := range steady {
		d.WaitFile(name+".runs", "began ")
	}
	before := pids(t, d)
	d.Crash()
	d.RelaunchDoomed("SUPD_CRASH=" + point)
	poked := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(poked)
		poke(ctx, d, strings.HasPrefix(point, crash.BeforeExec))
	}()
	d.AwaitEnd()
	stop()
	<-poked
	d.Relaunch()
	quiet(t, d)
	after := pids(t, d)
	for _, name := range steady {
		if before[name] != after[name] || began(t, d, name) != 1 {
			t.Errorf("%s had pid %d, has %d, and was started %d times", name, before[name], after[name], began(t, d, name))
		}
	}
	d.Wait("STOPPED", "stopped")
	if state := d.Info("restarted").StateName; state == "STOPPED" {
		d.MustCtl("start", "restarted")
	}
	d.Wait("RUNNING", "restarted")
	endCheck(t, d, all)
}

// poke gives a daemon something to do, until it is gone or ctx is done.
func poke(ctx context.Context, d *suptest.Daemon, upgrade bool) {
	c, err := client.New("unix://"+d.Path("supd.sock"), nil, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		if upgrade {
			err = c.Upgrade(ctx)
		} else {
			_ = c.StopProcess(ctx, "restarted")
			err = c.StartProcess(ctx, "restarted")
		}
		var fault *rpc.Fault
		if err != nil && !errors.As(err, &fault) {
			pauseFor(ctx, 2*time.Millisecond)
		}
	}
}

// endCheck checks what must hold after every crash, and ends the test.
func endCheck(t *testing.T, d *suptest.Daemon, names []string) {
	t.Helper()
	onceEach(t, d)
	noZombies(d)
	suplogOf(t, d)
	d.MustCtl("stop", "all")
	workersWell(t, d, names)
	d.Stop()
}

// TestTakeOverFastCGI asks whether clients reach the sockets of FastCGI programs
// after an upgrade, and after the daemon has been killed.
func TestTakeOverFastCGI(t *testing.T) {
	port := suptest.FreePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf("[fcgi-program:a]\ncommand=sleep 1000\nsocket=unix://%%(here)s/a.sock\n"+
		"[fcgi-program:b]\ncommand=sleep 1000\nsocket=tcp://127.0.0.1:%d\n", port)})
	reachable := func(when string) {
		t.Helper()
		d.Wait("RUNNING", "a:a", "b:b")
		for network, address := range map[string]string{"unix": d.Path("a.sock"), "tcp": fmt.Sprint("127.0.0.1:", port)} {
			conn, err := net.Dial(network, address)
			if err != nil {
				t.Errorf("%s: %v", when, err)
				continue
			}
			conn.Close()
		}
	}
	reachable("at first")
	pid := d.Info("a:a").PID
	d.MustCtl("upgrade")
	reachable("after an upgrade")
	d.Crash()
	d.Relaunch()
	reachable("after a crash")
	d.MustCtl("restart", "a:a", "b:b")
	reachable("after a restart")
	if d.Info("a:a").PID == pid {
		t.Error("a was not started again")
	}
}
