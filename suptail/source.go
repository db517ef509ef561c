package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"sup/lib/client"
	"sup/lib/logfile"
)

// source is a log that can be read.
type source interface {
	// show writes the lines of a query, and more of the log around them, to
	// p, which sorts them out.
	show(ctx context.Context, q query, p *printer) error
	// follow writes the lines of a query and then what is appended, until
	// ctx is done or p fails.
	follow(ctx context.Context, q query, p *printer) error
}

// localLog is a log that we can read ourselves.
type localLog struct {
	path string
}

func (l localLog) show(_ context.Context, q query, p *printer) error {
	spans, err := find(l.path, q)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoFile
	}
	if err != nil {
		return err
	}
	if _, err := logfile.Copy(p, spans); err != nil {
		return err
	}
	return p.end()
}

func (l localLog) follow(ctx context.Context, q query, p *printer) error {
	spans, err := find(l.path, q)
	var from int64
	if err == nil {
		// The backups are copied; the file itself is followed from where
		// its part begins, so that nothing comes between.
		last := len(spans) - 1
		from = spans[last].Offset
		if _, err := logfile.Copy(p, spans[:last]); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	emit := func(b []byte) error {
		_, err := p.Write(b)
		return err
	}
	return logfile.Follow(ctx, l.path, from, emit, p.end)
}

// errNoFile is a process without a log, or one that has not written it yet.
var errNoFile = errors.New("no log file")

// remoteLog is a log that is read through the daemon. Offsets and lengths count
// bytes of the file; the text that comes may be longer or shorter, since what is
// not UTF-8 is replaced on the way.
type remoteLog struct {
	daemon *client.Client
	name   string
	stream client.Stream
	// ticks paces following; nil is remotePace.
	ticks <-chan time.Time
}

const (
	// remotePace is how often a log is looked at that is followed through
	// the daemon.
	remotePace = 500 * time.Millisecond
	// remoteBlock is how much is asked for at once.
	remoteBlock = 256 << 10
)

func (l remoteLog) show(ctx context.Context, q query, p *printer) error {
	size, err := l.daemon.LogSize(ctx, l.name, l.stream)
	if err != nil {
		return err
	}
	if size == 0 && !l.exists(ctx) {
		return errNoFile
	}
	if err := l.history(ctx, q, size, p); err != nil {
		return err
	}
	return p.end()
}

// exists reports whether the daemon finds a file for the log.
func (l remoteLog) exists(ctx context.Context) bool {
	_, err := l.daemon.ReadProcessLog(ctx, l.name, l.stream, 0, 1)
	return err == nil
}

func (l remoteLog) follow(ctx context.Context, q query, p *printer) error {
	ticks := l.ticks
	if ticks == nil {
		ticker := time.NewTicker(remotePace)
		defer ticker.Stop()
		ticks = ticker.C
	}
	at := int64(-1) // not begun
	for {
		size, err := l.daemon.LogSize(ctx, l.name, l.stream)
		if err == nil && at < 0 {
			if err = l.history(ctx, q, size, p); err == nil {
				at = size
			}
		}
		if err == nil && size < at {
			// Cut short, or rotated; what the old one had more cannot be
			// reached.
			at, err = 0, p.end()
		}
		if err == nil && size > at {
			if err = l.copy(ctx, at, size, p); err == nil {
				at = size
			}
		}
		if err != nil && p.out.broken() {
			return err
		}
		// Any other error is the daemon's, which may come back.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks:
		}
	}
}

// history writes the lines of a query from a log of that size.
func (l remoteLog) history(ctx context.Context, q query, size int64, p *printer) error {
	switch q.lines {
	case 0:
		return nil
	case allLines:
		return l.copy(ctx, 0, size, p)
	}
	start, count, err := l.last(ctx, q, size)
	if err != nil {
		return err
	}
	raw := p.raw
	p.raw, p.skip = false, max(count-q.lines, 0)
	if err := l.copy(ctx, start, size, p); err != nil {
		return err
	}
	if p.raw = raw; raw {
		return p.endRaw()
	}
	return nil
}

// last returns from where on a log of that size holds as many lines as are
// wanted, and how many lines that fit are to be found from there.
func (l remoteLog) last(ctx context.Context, q query, size int64) (start int64, count int, err error) {
	for block := int64(remoteBlock); ; block *= 4 {
		start, count = max(size-block, 0), 0
		pass := filter{query: q}
		lines := splitter{emit: func(line []byte) error {
			if pass.pass(bytes.TrimSuffix(line, []byte("\n"))) {
				count++
			}
			return nil
		}}
		if err := l.copy(ctx, start, size, &lines); err != nil {
			return 0, 0, err
		}
		if err := lines.flush(); err != nil {
			return 0, 0, err
		}
		// The first line may be half a one, which must not be counted on.
		if start == 0 || count > q.lines {
			return start, count, nil
		}
	}
}

// copy writes a range of the log.
func (l remoteLog) copy(ctx context.Context, from, to int64, w io.Writer) error {
	for from < to {
		n := min(to-from, remoteBlock)
		text, err := l.daemon.ReadProcessLog(ctx, l.name, l.stream, from, n)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		from += n
	}
	return nil
}
