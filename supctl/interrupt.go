package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

// interrupts hands SIGINT to the innermost thing that is going on: a log that
// is being followed, else the shell. While nothing is registered it kills, as
// usual.
type interrupts struct {
	signals chan os.Signal

	mu    sync.Mutex
	stack []context.CancelFunc
	// done ends the goroutine that runs while the stack is not empty.
	done chan struct{}
}

func newInterrupts() *interrupts {
	return &interrupts{signals: make(chan os.Signal, 1)}
}

// register returns a context that the next interrupt ends, and a function
// that undoes the registration. Registrations must be nested.
func (i *interrupts) register(parent context.Context) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(parent)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stack = append(i.stack, cancel)
	if len(i.stack) == 1 {
		i.done = make(chan struct{})
		signal.Notify(i.signals, os.Interrupt)
		go i.deliver(i.done)
	}
	return ctx, func() {
		cancel()
		i.mu.Lock()
		defer i.mu.Unlock()
		i.stack = i.stack[:len(i.stack)-1]
		if len(i.stack) == 0 {
			signal.Stop(i.signals)
			close(i.done)
		}
	}
}

func (i *interrupts) deliver(done <-chan struct{}) {
	for {
		select {
		case <-i.signals:
			i.interrupt()
		case <-done:
			return
		}
	}
}

// interrupt ends the innermost context.
func (i *interrupts) interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := len(i.stack); n > 0 {
		i.stack[n-1]()
	}
}
