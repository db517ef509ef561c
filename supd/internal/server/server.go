// Package server is supd's HTTP side: its listening sockets, the check of
// credentials, the XML-RPC methods, the streaming logs and the status page. It
// owns no state of the programs; all it knows of them it asks of a Backend.
//
// The daemon uses it so:
//
//	srv, err := server.Open(plan.Servers, opts)   // in the foreground: errors are seen
//	for _, s := range server.Unprotected(plan.Servers) { … a CRIT line … }
//	srv.Serve(backend, logger)                    // returns at once
//	…
//	srv.Close(ctx)                                // answers what has been asked, removes the socket files
//
// A reload closes the old Server and opens one for the new plan; to keep the
// sockets that both have, pass the old one's Files as Options.Inherited and
// close the old one with Abandon. A live upgrade calls Pause, hands Files to
// the new image, and, should that not start, Resume. Sockets from systemd are
// sorted by SocketAddresses.
//
// # How a request is served
//
// Each connection starts in a loop of its own that knows one thing only: an
// XML-RPC call in the plain form in which clients send it. That is what happens
// thousands of times a second. Whatever else arrives, be it another method or
// path, a header that needs thought or a mistake, the connection is handed over
// as it is to net/http, which serves it from then on, calls included.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sup/lib/plan"
	"sup/supd/internal/record"
	"sup/supd/internal/suspend"
	"sup/supd/internal/unixsock"
)

// Limits of a connection.
const (
	headerTimeout = 10 * time.Second // from the first byte of a request to the end of its header
	writeTimeout  = 30 * time.Second // without the client taking anything
	silentTimeout = 60 * time.Second // until the first request, and between requests to the page
	// callerTimeout is how long a connection over which a call has been
	// answered may lie idle. Clients keep theirs, as supervisorctl's shell
	// does, and take its end for a failure.
	callerTimeout = 30 * time.Minute

	maxHeader = 64 << 10
	// strangerHeader is how large the header of the first request may be, until
	// the client is known: what the buffer holds that is lent to it.
	strangerHeader = readSize
)

// Options are the settings of a Server beside those of the plan.
type Options struct {
	// Version is what getSupervisorVersion answers and the page shows.
	Version string
	// Interfaces are the [rpcinterface:x] sections; without one for the
	// main interface there are only the system methods.
	Interfaces []plan.RPCInterface
	// Inherited are open listening sockets by Address; those that a server
	// wants are taken over and closed, the others left alone. The files of unix
	// sockets get the mode and owner of the plan.
	Inherited map[string]Inherited
	// Lent are the addresses of sockets that belong to somebody else, who
	// listens on them when we don't: the files of unix sockets among them are
	// neither changed nor removed.
	Lent []string
	// Before is the Server whose place this one takes. What it knows of right and
	// wrong passwords goes on to count. Users and certificates that cannot be read
	// are those that it has.
	Before *Server
	// Tolerant lets a server begin whose users or certificate cannot be read; it
	// lets nobody in for whom they are needed until they can be.
	Tolerant bool
	// Record takes what clients change. It may be nil.
	Record *record.Log
	// Stderr takes what is to be said at opening. It may be nil.
	Stderr io.Writer
	// MaxConns bounds the open connections of each listener; 0 means a
	// quarter of the file descriptors that the process may have.
	MaxConns int
}

// Server serves all HTTP servers of a plan.
type Server struct {
	opts      Options
	endpoints []*endpoint
	methods   *methodTable
	consents  *consents
	memory    budget
	turns     turns
	aborted   atomic.Int64 // requests whose clients did not wait for the answer

	// warnings are of Open, to be logged when there is a log.
	warnings []string

	backend  Backend
	log      Logger
	panics   onceEach
	failures failureLog
	late     []string // what is to be logged when there is a log
	brake    *brake
	accounts accounts
	tails    tails

	// ctx ends when the server closes; streams end with it at once.
	ctx    context.Context
	cancel context.CancelFunc

	// accepting counts the accept loops, conns the connections.
	accepting sync.WaitGroup
	conns     count
	draining  atomic.Bool

	// callCtx is ctx for calls that may be broken off.
	callCtx context.Context
	// streaming ends when streams are to end. Requests may be being served when
	// it is replaced.
	streaming     atomic.Pointer[context.Context]
	stopStreaming context.CancelFunc

	heldMu sync.Mutex
	held   []HeldCall
}

// endpoint is one server of the plan.
type endpoint struct {
	srv      *Server
	conf     plan.Server
	listener listener
	file     unixsock.ID // of a unix socket
	gate     *gate
	tls      *certificates // nil without TLS
	hosts    *hostGuard
	bounds   bounds
	follows  atomic.Int32 // connections over which a log is followed

	http  *http.Server
	queue *connQueue // connections for http

	mu   sync.Mutex
	open map[*conn]struct{}
	// room is signalled when a connection has ended or become idle while
	// the accept loop waits for that.
	room chan struct{}
}

// Open opens the sockets of all servers, or none. The texts of errors are
// Supervisor's where it has one.
func Open(servers []plan.Server, opts Options) (*Server, error) {
	if opts.Stderr == nil {
		opts.Stderr = io.Discard
	}
	if opts.MaxConns == 0 {
		opts.MaxConns = defaultMaxConns()
	}
	s := &Server{opts: opts, methods: newMethodTable(opts.Interfaces), consents: newConsents(), brake: new(brake)}
	if opts.Before != nil {
		s.brake = opts.Before.brake
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.beginStreaming()
	s.callCtx = suspend.With(s.ctx, nil)
	inherited := maps.Clone(opts.Inherited)
	for _, conf := range servers {
		gate, certs, err := s.secrets(conf)
		if err != nil {
			s.undo(opts.Inherited)
			return nil, err
		}
		address := Address(conf)
		l, file, err := s.listen(conf, inherited[address])
		if err != nil {
			s.undo(opts.Inherited)
			return nil, err
		}
		delete(inherited, address)
		s.endpoints = append(s.endpoints, &endpoint{
			srv: s, conf: conf, listener: l, file: file,
			gate: gate, tls: certs, hosts: newHostGuard(conf),
			bounds: newBounds(conf.Limits, opts.MaxConns), open: make(map[*conn]struct{}), room: make(chan struct{}, 1),
		})
	}
	// It is needed no longer, and would keep the one before it.
	s.opts.Before = nil
	largest := defaultBody
	for _, ep := range s.endpoints {
		largest = max(largest, ep.bounds.body)
	}
	s.memory.left.Store(int64(budgetBodies * largest))
	s.turns.all, s.turns.room = int64(largest), int64(largest)
	return s, nil
}

// undo closes what Open has opened. Sockets that are another Server's, too, keep
// their files.
func (s *Server) undo(inherited map[string]Inherited) {
	for _, ep := range s.endpoints {
		if _, others := inherited[Address(ep.conf)]; !others {
			ep.unlink()
		}
		ep.listener.Close()
	}
}

// unlink removes the file of a unix socket, unless it is lent.
func (ep *endpoint) unlink() {
	if ep.conf.Unix && !slices.Contains(ep.srv.opts.Lent, Address(ep.conf)) {
		// Somebody else's socket may lie there by now.
		_ = unixsock.Remove(ep.conf.Path, ep.file)
	}
}

func defaultMaxConns() int {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 1024
	}
	return max(16, int(min(lim.Cur/4, 1<<16)))
}

// Serve begins to answer requests and returns. It must be called only once.
func (s *Server) Serve(backend Backend, logger Logger) {
	s.backend, s.log = noticing{backend, &s.tails}, logger
	for _, line := range s.late {
		logger.Log("CRIT", line)
	}
	for _, ep := range s.endpoints {
		ep.queue = &connQueue{conns: make(chan *conn), done: s.ctx.Done(), addr: ep.listener.Addr()}
		ep.http = &http.Server{
			Handler:                      ep,
			ReadHeaderTimeout:            headerTimeout,
			IdleTimeout:                  silentTimeout,
			MaxHeaderBytes:               maxHeader,
			ConnState:                    connState,
			ConnContext:                  withConn,
			ErrorLog:                     log.New(debugLog{logger}, "", 0),
			DisableGeneralOptionsHandler: true,
		}
		go ep.http.Serve(ep.queue)
	}
	for _, line := range s.warnings {
		logger.Log("WARN", line)
	}
	s.warnings = nil
	s.accept()
}

func (s *Server) accept() {
	for _, ep := range s.endpoints {
		s.accepting.Go(ep.accept)
	}
}

// Files returns duplicates of the listening sockets by Address, for
// Options.Inherited.
func (s *Server) Files() (map[string]Inherited, error) {
	files := make(map[string]Inherited)
	for _, ep := range s.endpoints {
		f, err := ep.listener.File()
		if err != nil {
			for _, f := range files {
				f.File.Close()
			}
			return nil, fmt.Errorf("cannot hand on the socket of %s: %w", Address(ep.conf), err)
		}
		files[Address(ep.conf)] = Inherited{f, ep.file}
	}
	return files, nil
}

// Pause stops accepting connections, which wait in the sockets then, and
// returns when no request is being served or waits to be read. Idle connections
// are closed, streams end, and calls that wait for a process, and that the
// backend breaks off, are held. If ctx ends first, its error is returned.
func (s *Server) Pause(ctx context.Context) error {
	s.stopAccepting()
	s.draining.Store(true)
	s.stopStreaming()
	for _, ep := range s.endpoints {
		ep.http.SetKeepAlivesEnabled(false)
	}
	// Who has connected just now is about to ask, and would take the end of
	// the connection for an answer. Who has asked before knows that a
	// connection may end between two requests.
	s.closeIdle(func(c *conn) bool { return c.asked.Load() && !c.pending() })
	grace, cancel := context.WithTimeout(ctx, newcomerGrace)
	defer cancel()
	if s.drained(grace) == nil {
		return nil
	}
	s.closeIdle(func(c *conn) bool { return !c.pending() })
	return s.drained(ctx)
}

// newcomerGrace is how long a new connection has to bring its first request
// while the server pauses.
const newcomerGrace = 250 * time.Millisecond

func (s *Server) closeIdle(which func(*conn) bool) {
	for _, ep := range s.endpoints {
		for _, c := range ep.all() {
			if which(c) {
				c.closeIdle()
			}
		}
	}
}

// Resume undoes Pause.
func (s *Server) Resume() {
	s.beginStreaming()
	s.draining.Store(false)
	for _, ep := range s.endpoints {
		ep.http.SetKeepAlivesEnabled(true)
		ep.listener.SetDeadline(time.Time{})
	}
	s.accept()
	s.Continue(s.takeHeld())
}

func (s *Server) beginStreaming() {
	var ctx context.Context
	ctx, s.stopStreaming = context.WithCancel(s.ctx)
	s.streaming.Store(&ctx)
}

func (s *Server) stopAccepting() {
	for _, ep := range s.endpoints {
		ep.listener.SetDeadline(time.Unix(1, 0))
	}
	s.accepting.Wait()
}

// Close stops listening, removes the socket files, and ends all connections:
// idle ones and streams at once, the others when they have been answered, or
// when ctx is done.
func (s *Server) Close(ctx context.Context) error { return s.close(ctx, nil) }

// Abandon is Close, but leaves the files of the sockets that are in the hands of
// another Server.
func (s *Server) Abandon(ctx context.Context, to *Server) error { return s.close(ctx, to) }

func (s *Server) close(ctx context.Context, to *Server) error {
	s.draining.Store(true)
	s.closeListeners(to)
	s.accepting.Wait()
	s.cancel()
	for _, ep := range s.endpoints {
		if ep.http != nil {
			ep.http.SetKeepAlivesEnabled(false)
		}
	}
	s.closeIdle(func(*conn) bool { return true })
	err := s.drained(ctx)
	for _, ep := range s.endpoints {
		ep.closeAll()
		if ep.http != nil {
			ep.http.Close()
		}
	}
	return err
}

func (s *Server) closeListeners(to *Server) {
	for _, ep := range s.endpoints {
		if to == nil || to.endpointAt(Address(ep.conf)) == nil {
			ep.unlink()
		}
		ep.listener.Close()
	}
}

// drained waits until the last connection has ended.
func (s *Server) drained(ctx context.Context) error { return s.conns.none(ctx) }

// accept takes connections until the listener is closed or has a deadline.
func (ep *endpoint) accept() {
	pause := 5 * time.Millisecond
	for {
		nc, err := ep.listener.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			ep.receive(newConn(ep, nc))
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EINVAL), isClosed(err):
			return
		default:
			// Out of descriptors or memory: make room, and wait for more.
			ep.srv.log.Log("WARN", fmt.Sprintf("cannot accept a connection on %s: %v", Address(ep.conf), err))
			ep.evict()
			select {
			case <-time.After(pause):
			case <-ep.srv.ctx.Done():
				return
			}
			pause = min(2*pause, time.Second)
		}
	}
}

// receive begins to serve a connection, when there is room for it.
func (ep *endpoint) receive(c *conn) {
	ep.srv.conns.add()
	for {
		ep.mu.Lock()
		if len(ep.open) < ep.bounds.conns {
			ep.open[c] = struct{}{}
			ep.mu.Unlock()
			go c.serve()
			return
		}
		ep.mu.Unlock()
		if ep.evict() {
			continue
		}
		select {
		case <-ep.room:
		case <-time.After(time.Second): // a deadline on the listener may be pending
			if ep.srv.draining.Load() {
				c.Conn.Close()
				ep.srv.conns.done()
				return
			}
		}
	}
}

// evict closes the connections that have been without a request for the
// longest, a sixteenth of all, and tells whether there were any.
func (ep *endpoint) evict() bool {
	ep.mu.Lock()
	var idle []*conn
	for c := range ep.open {
		if c.state.Load() == waiting {
			idle = append(idle, c)
		}
	}
	ep.mu.Unlock()
	slices.SortFunc(idle, func(a, b *conn) int { return int(a.since.Load() - b.since.Load()) })
	closed := false
	for _, c := range idle[:min(len(idle), 1+len(idle)/16)] {
		closed = c.closeIdle() || closed
	}
	return closed
}

func (ep *endpoint) closeAll() {
	for _, c := range ep.all() {
		c.Close()
	}
}

func (ep *endpoint) all() []*conn {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return slices.Collect(maps.Keys(ep.open))
}

// signalRoom wakes the accept loop if it waits for room.
func (ep *endpoint) signalRoom() {
	select {
	case ep.room <- struct{}{}:
	default:
	}
}

// debugLog takes net/http's complaints about clients.
type debugLog struct{ log Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.log.Log("DEBG", strings.TrimSpace(string(p)))
	return len(p), nil
}
