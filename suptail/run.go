package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"sup/lib/cli"
	"sup/lib/client"
	"sup/lib/value"
)

// Exit statuses.
const (
	exitIncomplete  = 1
	exitUnreachable = 4
)

// run is suptail as a function from a command line to an exit status. It ends
// when ctx does.
func run(ctx context.Context, argv []string, streams cli.Streams) int {
	o, err := parseArgs(argv, streams, time.Now())
	if errors.Is(err, errDone) {
		return 0
	}
	var daemon *client.Client
	if err == nil {
		daemon, err = o.connect(argv[0])
	}
	if err != nil {
		return cli.UsageError(streams.Err, argv[0], err)
	}
	v := &viewer{
		options:  *o,
		daemon:   daemon,
		out:      &output{w: streams.Out},
		coloured: cli.Colours(streams.Out),
	}
	return v.run(ctx, streams)
}

func (v *viewer) run(ctx context.Context, streams cli.Streams) int {
	var mu sync.Mutex
	status := 0
	v.complain = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(streams.Err, "suptail: %s\n", value.Printable(fmt.Sprintf(format, args...)))
		status = exitIncomplete
	}
	infos, err := v.daemon.AllProcessInfo(ctx)
	if err != nil {
		if client.IsStatus(err, http.StatusUnauthorized) {
			err = errors.New("the daemon wants a user name and a password")
		}
		v.complain("%v", explain(err))
		return exitUnreachable
	}
	targets, unknown := resolve(v.names, infos, v.stream)
	for _, name := range unknown {
		v.complain("no such process: %s", name)
	}
	v.prefixed = len(targets) > 1 || v.options.follow && slices.ContainsFunc(v.names, several)
	switch {
	case !v.options.follow:
		v.show(ctx, targets)
	case len(targets) > 0 || slices.ContainsFunc(v.names, several):
		v.follow(ctx, targets)
	}
	mu.Lock()
	defer mu.Unlock()
	return status
}
