package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/safepath"
	"sup/lib/value"
)

// recheck is how often the daemon is asked again where the logs are. They move
// when it restarts and chooses names of its own, and when its configuration
// changes.
const recheck = 5 * time.Second

// viewer shows logs.
type viewer struct {
	options
	daemon *client.Client
	out    *output
	// complain tells of something that keeps a log from being shown.
	complain func(format string, args ...any)
	// prefixed puts names before lines, in colours if there is a terminal.
	prefixed, coloured bool
	// coloursUsed counts the names that were given one.
	coloursUsed int
	// ticks paces the questions to the daemon; nil is recheck.
	ticks <-chan time.Time

	// following has every log that is, or was, being followed, by name.
	following map[string]*followed
	copying   sync.WaitGroup
	// alive is the number of logs that are being followed.
	alive atomic.Int32
	// failed wakes follow up when it is one less.
	failed chan struct{}
}

// followed is a log that is being followed.
type followed struct {
	target
	printer *printer
	stop    context.CancelFunc
}

// source returns how a log is to be read.
func (v *viewer) source(ctx context.Context, t target) (source, error) {
	if t.file == "" {
		return nil, errNoFile
	}
	if err := elsewhere(t.file, !v.daemon.Local()); err != nil {
		return nil, err
	}
	remote := remoteLog{daemon: v.daemon, name: t.name, stream: v.stream}
	if !v.daemon.Local() || !filepath.IsAbs(t.file) {
		return remote, nil
	}
	f, err := safepath.OpenFile(t.file, os.O_RDONLY, 0)
	switch {
	case err == nil:
		f.Close()
	case errors.Is(err, os.ErrNotExist) && v.daemon.Unix() && !remote.exists(ctx):
		// It will be made; until then there is nothing at either end.
	default:
		return remote, nil
	}
	return localLog{path: t.file}, nil
}

// printer returns the printer of a log.
func (v *viewer) printer(t target) *printer {
	p := newPrinter(v.out, v.query)
	switch {
	case v.json:
		p.object = jsonLine(t.group, t.process, string(v.stream))
	case v.prefixed:
		// Names are others' choice, and this may be a terminal.
		name := value.Printable(t.name)
		p.prefix = name + " | "
		if v.coloured {
			p.prefix = colours[v.coloursUsed%len(colours)] + name + " |\x1b[0m "
			v.coloursUsed++
		}
	case !v.query.selects():
		p.raw = true
	}
	return p
}

// colours are those of names: all that can be read on black and on white.
var colours = []string{"\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"}

// show prints what is there of each log.
func (v *viewer) show(ctx context.Context, targets []target) {
	for _, t := range targets {
		s, err := v.source(ctx, t)
		if err == nil {
			err = s.show(ctx, v.query, v.printer(t))
		}
		if err != nil && !v.out.broken() {
			v.complain("cannot show the log of %s: %v", t.name, explain(err))
		}
	}
}

// follow follows the logs until ctx is done.
func (v *viewer) follow(ctx context.Context, targets []target) {
	ctx, cancel := context.WithCancel(ctx)
	defer v.copying.Wait()
	defer cancel()
	v.following = make(map[string]*followed)
	v.failed = make(chan struct{}, 1)
	ticks := v.ticks
	if ticks == nil {
		ticker := time.NewTicker(recheck)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		for _, t := range targets {
			v.keepUp(ctx, cancel, t)
		}
		if v.alive.Load() == 0 && !slices.ContainsFunc(v.names, several) {
			return // nothing to follow, and nothing that might come
		}
		select {
		case <-ctx.Done():
			return
		case <-v.failed:
			continue
		case <-ticks:
		}
		// A daemon that is away will come back; its programs, and their
		// logs, may well go on without it.
		if infos, err := v.daemon.AllProcessInfo(ctx); err == nil {
			targets, _ = resolve(v.names, infos, v.stream)
		}
	}
}

// keepUp follows a log that is not followed yet, or that has moved.
func (v *viewer) keepUp(ctx context.Context, cancel context.CancelFunc, t target) {
	q := v.query
	f := v.following[t.name]
	if f != nil {
		if f.file == t.file || t.file == "" {
			return
		}
		// All of the new file is news.
		q.lines = allLines
		f.stop()
	} else {
		f = &followed{printer: v.printer(t), stop: func() {}}
		v.following[t.name] = f
	}
	f.target = t
	s, err := v.source(ctx, t)
	if err != nil {
		v.complain("cannot follow the log of %s: %v", t.name, explain(err))
		return
	}
	// The printer of the log before may still be in use.
	printer := v.successor(f.printer)
	f.printer = printer
	v.alive.Add(1)
	logCtx, stop := context.WithCancel(ctx)
	f.stop = stop
	v.copying.Go(func() {
		defer stop()
		err := s.follow(logCtx, q, printer)
		v.alive.Add(-1)
		switch {
		case v.out.broken():
			cancel()
		case logCtx.Err() == nil && err != nil:
			v.complain("cannot follow the log of %s: %v", t.name, explain(err))
			select {
			case v.failed <- struct{}{}:
			default:
			}
		}
	})
}

// successor returns a new printer that prints as p does.
func (v *viewer) successor(p *printer) *printer {
	next := newPrinter(v.out, v.query)
	next.raw, next.prefix, next.object = p.raw, p.prefix, p.object
	return next
}

// explain turns the faults that a daemon answers into words.
func explain(err error) error {
	var fault *rpc.Fault
	if !errors.As(err, &fault) {
		return err
	}
	switch fault.Code {
	case rpc.NoFile:
		return errNoFile
	case rpc.BadName:
		return errors.New("no such process")
	}
	return errors.New(fault.String)
}
