package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/process"
	"sup/lib/rpc"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
)

// An upgrade in place: the process goes on with another program, the one that
// now lies at its path. Children stay children and sockets stay open; the
// state goes over in memory. It is tried on the side first, and whatever fails
// before the last step leaves everything as it is.

// CheckFlag makes supd say whether it could take over: it reads the
// configuration and the state, and answers with CheckAnswer and its version.
const (
	CheckFlag   = "--check-upgrade"
	CheckAnswer = "supd-ok"
)

const (
	checkPatience = 5 * time.Second
	pausePatience = 3 * time.Second
)

// Upgrade begins to replace the daemon. It returns when the new program has
// said that it can take over.
func (d *Daemon) Upgrade(ctx context.Context) error {
	if err := d.beginUpgrade(ctx); err != nil {
		d.log.Print(activity.Error, "cannot upgrade, everything goes on as it is: "+err.Error())
		return rpc.NewFault(rpc.Failed, err.Error())
	}
	return nil
}

// Generation tells how this daemon came to be.
func (d *Daemon) Generation(ctx context.Context) (g rpc.Generation, err error) {
	err = d.ask(ctx, func() { g = rpc.Generation{Generation: d.generation, PID: os.Getpid(), Kept: d.kept} })
	return g, err
}

func (d *Daemon) beginUpgrade(ctx context.Context) error {
	if d.opts.StateDir == nil {
		return fmt.Errorf("there is no state directory (statedir=)")
	}
	var busy error
	if err := d.ask(ctx, func() {
		switch {
		case d.mood != MoodRunning:
			busy = fmt.Errorf("the daemon is going down or restarting")
		case d.upgrading:
			busy = fmt.Errorf("another upgrade is under way")
		default:
			d.upgrading = true
		}
	}); err != nil {
		return err
	}
	if busy != nil {
		return busy
	}
	if err := d.check(ctx); err != nil {
		d.post(func() { d.upgrading = false })
		return err
	}
	// The caller is to get its answer before connections are closed.
	go d.replace()
	return nil
}

// check runs the new program on the side.
func (d *Daemon) check(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		w.Close()
		return err
	}
	defer null.Close()
	type result struct {
		pid int
		err error
	}
	started := make(chan result, 1)
	ended := make(chan unix.WaitStatus, 1)
	d.post(func() {
		d.spawns.put(spawnJob{helper: &helperJob{
			command: spawn.Command{
				Name: "supd", Path: d.opts.Self, Argv: append(append([]string{}, d.opts.Args...), CheckFlag),
				Env: os.Environ(), Umask: -1, UID: -1, Files: []int{int(null.Fd()), int(w.Fd()), int(w.Fd())},
			},
			done: func(pid int, err error) {
				if err == nil {
					d.helpers[pid] = func(st unix.WaitStatus) { ended <- st }
				}
				started <- result{pid, err}
			},
		}})
	})
	s := <-started
	w.Close()
	if s.err != nil {
		return s.err
	}
	patience := time.NewTimer(checkPatience)
	defer patience.Stop()
	_ = r.SetReadDeadline(time.Now().Add(checkPatience))
	text, _ := io.ReadAll(io.LimitReader(r, 4096))
	answer := strings.TrimSpace(string(text))
	select {
	case st := <-ended:
		if st.Exited() && st.ExitStatus() == 0 && strings.HasPrefix(answer, CheckAnswer+" ") {
			return nil
		}
		if first, _, _ := strings.Cut(answer, "\n"); first != "" {
			return fmt.Errorf("%s does not take over: %s", d.opts.Self, first)
		}
		return fmt.Errorf("%s does not take over: %s", d.opts.Self, process.Describe(st))
	case <-patience.C:
		_ = spawn.Kill(s.pid, unix.SIGKILL, false)
		return fmt.Errorf("%s does not answer", d.opts.Self)
	}
}

// replace waits until no request is being served and nothing is being started,
// and goes over. If that fails all goes on.
func (d *Daemon) replace() {
	ctx, cancel := context.WithTimeout(context.Background(), pausePatience)
	defer cancel()
	// Who waits for a program to stop or to start is cut off; it may ask anew.
	_ = d.opts.Pause(ctx)
	d.post(d.goOver)
}

// goOver takes the last step on the loop, when nothing is half done.
func (d *Daemon) goOver() {
	if d.mood != MoodRunning {
		d.upgrading = false
		d.opts.Resume()
		return
	}
	if d.inFlight > 0 || len(d.starts) > 0 || d.logs.pid == 0 {
		d.after(time.Millisecond, d.goOver)
		return
	}
	left := 1
	paused := func() {
		if left--; left == 0 {
			d.lastStep()
		}
	}
	for _, run := range d.conversations() {
		left++
		run.pause(paused)
	}
	paused()
}

// conversations are the event listeners that are being read.
func (d *Daemon) conversations() []*listenerRun {
	var runs []*listenerRun
	for _, p := range d.listing {
		if p.listener != nil && p.listener.run != nil {
			runs = append(runs, p.listener.run)
		}
	}
	return runs
}

// lastStep goes over to the new image, when nothing that was read waits to be
// dealt with.
func (d *Daemon) lastStep() {
	d.log.Print(activity.Info, "upgrading in place")
	snapshot := d.snapshot()
	snapshot.Pools = d.events.savePools()
	err := d.opts.Replace(snapshot)
	// Still here: it could not be done.
	d.upgrading = false
	d.log.Print(activity.Error, "cannot upgrade, everything goes on as it is: "+err.Error())
	for _, run := range d.conversations() {
		run.unpause()
	}
	d.opts.Resume()
	d.reap()
}
