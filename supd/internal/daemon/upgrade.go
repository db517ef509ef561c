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
	// goOverPatience is how much longer a start under way may take.
	goOverPatience = 5 * time.Second
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
		d.startHelper(&helperJob{
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
		})
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
		d.post(func() {
			// Only while it has not been reaped the pid is its.
			if d.helpers[s.pid] != nil {
				_ = spawn.Kill(s.pid, unix.SIGKILL, false)
			}
		})
		return fmt.Errorf("%s does not answer", d.opts.Self)
	}
}

// replace waits until no request is being served and nothing is half done, and
// goes over. If that fails all goes on.
func (d *Daemon) replace() {
	ctx, cancel := context.WithTimeout(context.Background(), pausePatience)
	defer cancel()
	d.post(d.suspendWaits)
	_ = d.opts.Pause(ctx)
	d.post(func() { d.goOver(d.now() + pausePatience) })
}

// stay goes on as this image, and takes requests again.
func (d *Daemon) stay() {
	d.upgrading, d.suspending = false, false
	d.opts.Resume()
	d.reap()
}

// goOver takes the last step on the loop, when nothing is half done, or
// nothing any more that could not be done by the next image.
func (d *Daemon) goOver(patience time.Duration) {
	switch {
	case d.mood != MoodRunning:
		d.stay()
		return
	case d.now() > patience+goOverPatience:
		d.log.Print(activity.Error, "cannot upgrade, everything goes on as it is: a program or suplog is being started, and that does not end")
		d.stay()
		return
	case d.inFlight > 0 || len(d.starts) > 0 || d.logs.pid == 0,
		d.now() < patience && d.halfDone():
		d.after(time.Millisecond, func() { d.goOver(patience) })
		return
	}
	texts := map[string]map[string][]byte{}
	left := 1
	paused := func() {
		if left--; left == 0 {
			d.lastStep(texts, patience)
		}
	}
	// What listeners say from now on the next image reads.
	for _, run := range d.conversations() {
		d.ears.leave(run)
		run.show()
	}
	for _, p := range d.listing {
		left++
		p.stdin.pause(func(text []byte) {
			if len(text) > 0 {
				group := p.group.name()
				if texts[group] == nil {
					texts[group] = map[string][]byte{}
				}
				texts[group][p.cfg.Name] = text
			}
			paused()
		})
	}
	left++
	d.logs.pause(paused)
	paused()
}

// halfDone tells whether there is something that the next image would not know
// of: the end of a process that is not told yet, a question to suplog, a message
// that came in part.
func (d *Daemon) halfDone() bool {
	if len(d.early) > 0 || len(d.logs.asked) > 0 || d.logs.sending != nil && d.logs.sending.Load() > 0 {
		return true
	}
	for _, p := range d.listing {
		if p.end != nil {
			return true
		}
		for _, s := range p.streams() {
			if len(s.parts)+len(s.captured) > 0 {
				return true
			}
		}
	}
	return false
}

// conversations are the event listeners that are being read.
func (d *Daemon) conversations() []*listenerRun {
	var runs []*listenerRun
	for _, p := range d.listing {
		if p.listener != nil && p.listener.run != nil && !p.listener.run.ended {
			runs = append(runs, p.listener.run)
		}
	}
	return runs
}

// lastStep goes over to the new image, when nothing that was read waits to be
// dealt with.
func (d *Daemon) lastStep(stdin map[string]map[string][]byte, patience time.Duration) {
	if d.now() < patience && d.halfDone() {
		// Something came in the meantime.
		d.unpause()
		d.after(time.Millisecond, func() { d.goOver(patience) })
		return
	}
	d.log.Print(activity.Info, "upgrading in place")
	snapshot := d.snapshot()
	snapshot.Pools = d.events.savePools()
	snapshot.Asked = d.logs.lastSeq
	snapshot.Stdin = stdin
	left := Descriptors{Sockets: map[string]int{}, Holder: d.holding.fd()}
	for _, g := range d.order {
		if g.socket != nil && g.socket.FD() >= 0 {
			left.Sockets[g.name()] = g.socket.FD()
		}
	}
	if d.logs.conn != nil && d.logs.sending.Load() == 0 {
		left.Suplog = d.logs.conn.FD()
	}
	err := d.opts.Replace(snapshot, left)
	// Still here: it could not be done.
	d.log.Print(activity.Error, "cannot upgrade, everything goes on as it is: "+err.Error())
	d.unpause()
	d.stay()
}

// unpause goes on with what was paused.
func (d *Daemon) unpause() {
	for _, run := range d.conversations() {
		_ = d.ears.attend(run)
	}
	for _, p := range d.listing {
		p.stdin.unpause()
	}
	d.logs.unpause()
}
