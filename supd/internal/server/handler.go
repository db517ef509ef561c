package server

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sup/lib/access"
	"sup/lib/logfile"
	"sup/lib/safepath"
)

// ServeHTTP serves what has been handed over.
func (ep *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := ep.srv
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.panicked(strconv.Quote(r.Method+" "+r.URL.Path), p)
			fail(w, http.StatusInternalServerError)
		}
	}()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	client, ok := ep.admit(w, r)
	if !ok {
		return
	}
	if ep.hosts != nil && r.Host != "" && !ep.hosts.allow(r.Host) {
		fail(w, http.StatusMisdirectedRequest)
		return
	}
	if note := r.Header.Get(noteHeader); note != "" {
		client = client.With(note)
	}
	r = r.WithContext(access.With(r.Context(), client))
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/RPC2"):
		ep.serveCall(w, r)
	case path == "/mainlogtail" || strings.HasPrefix(path, "/mainlogtail/"):
		ep.serveMainTail(w, r)
	case path == "/logtail" || strings.HasPrefix(path, "/logtail/"):
		ep.serveTail(w, r, strings.TrimPrefix(strings.TrimPrefix(path, "/logtail"), "/"))
	default:
		ep.servePage(w, r, strings.TrimLeft(path, "/"))
	}
}

// admit asks the gate about a request, and answers those that are refused.
func (ep *endpoint) admit(w http.ResponseWriter, r *http.Request) (client *access.Client, ok bool) {
	c := connOf(r)
	authorization := []byte(r.Header.Get("Authorization"))
	a := ep.gate.check(&c.peer, authorization, ep.srv.log)
	if a.wrong {
		user, _, _ := parseBasic(authorization)
		ep.srv.failures.add(ep.srv.log, ep.conf.Section, c.peer.refused(user))
	}
	if a.status == 0 {
		return a.client, true
	}
	h := w.Header()
	for _, f := range a.fields() {
		h.Set(f[0], f[1])
	}
	h.Set("Connection", "close")
	fail(w, a.status)
	return nil, false
}

// fail answers with an error page.
func fail(w http.ResponseWriter, status int) {
	reply(w, status, "text/html", []byte(errorPage(status)))
}

// failBecause answers with an error page that tells the reason.
func failBecause(w http.ResponseWriter, status int, reason string) {
	page := strings.Replace(errorPage(status), "</h1>", "</h1><p>"+html.EscapeString(reason)+"</p>", 1)
	reply(w, status, "text/html;charset=utf-8", []byte(page))
}

func reply(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func errorPage(status int) string {
	text := html.EscapeString(strconv.Itoa(status) + " " + http.StatusText(status))
	return "<!DOCTYPE html>\n<html><head><title>" + text + "</title></head><body><h1>" + text + "</h1></body></html>\n"
}

// serveCall serves an XML-RPC call that did not come in plain form.
func (ep *endpoint) serveCall(w http.ResponseWriter, r *http.Request) {
	s := ep.srv
	if r.Method != http.MethodPost {
		fail(w, http.StatusBadRequest)
		return
	}
	if !mayCall(r) {
		fail(w, http.StatusForbidden)
		return
	}
	if r.ContentLength < 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		w.Header().Set("Connection", "close")
		fail(w, http.StatusLengthRequired)
		return
	}
	if r.ContentLength > int64(ep.bounds.body) {
		w.Header().Set("Connection", "close")
		fail(w, http.StatusRequestEntityTooLarge)
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(ep.bounds.timeout))
	body, taken, status := s.readBody(r.Body, int(r.ContentLength))
	defer func() { s.memory.give(taken) }()
	if status != 0 {
		w.Header().Set("Connection", "close")
		fail(w, status)
		return
	}
	a := s.newAnswer()
	defer a.free()
	status, broken := s.answer(access.With(s.ctx, access.From(r.Context())), connOf(r), body, a)
	broken.settle(s.opts.Record)
	if status != http.StatusOK {
		fail(w, status)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.FormatInt(a.size(), 10))
	if a.writeTo(w, nil) != nil {
		// The client must not take what it has got for the whole.
		panic(http.ErrAbortHandler)
	}
}

// readBody reads the size bytes of a body. Memory is taken for what has come and
// not for what is announced: who sends slowly does not keep others from sending.
func (s *Server) readBody(r io.Reader, size int) (body []byte, taken int64, status int) {
	body = make([]byte, 0, min(size, readSize))
	for len(body) < size {
		if len(body) == cap(body) {
			grown := min(2*cap(body), size)
			if cap(body) >= largeBody {
				if !s.memory.take(int64(grown) - taken) {
					return nil, taken, http.StatusServiceUnavailable
				}
				taken = int64(grown)
			}
			bigger := make([]byte, len(body), grown)
			copy(bigger, body)
			body = bigger
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil && len(body) < size {
			return nil, taken, http.StatusBadRequest
		}
	}
	return body, taken, 0
}

// tailStart is how far before the end of a log a stream begins, in bytes.
const tailStart = 1024

// serveTail streams the log of a process: name, name/stdout or name/stderr.
func (ep *endpoint) serveTail(w http.ResponseWriter, r *http.Request, what string) {
	if r.Method != http.MethodGet {
		fail(w, http.StatusBadRequest)
		return
	}
	name, channel, given := strings.Cut(what, "/")
	if !given {
		channel = "stdout"
	}
	group, process, whole := splitName(name)
	if whole || channel != "stdout" && channel != "stderr" {
		fail(w, http.StatusNotFound)
		return
	}
	path, err := ep.srv.backend.LogPath(r.Context(), group, process, channel)
	if err != nil {
		fail(w, http.StatusNotFound)
		return
	}
	w.Header().Set("X-Accel-Buffering", "no")
	ep.stream(w, r, path, group, process)
}

func (ep *endpoint) serveMainTail(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		fail(w, http.StatusBadRequest)
		return
	}
	ep.stream(w, r, ep.srv.backend.MainLogPath(), "", "")
}

// readable returns when the log at path was last written to, or why it cannot
// be read.
func readable(path string) (time.Time, error) {
	st, err := safepath.Stat(path)
	if err != nil || isNull(&st) {
		return time.Now(), err
	}
	section, err := logfile.OpenSection(path, -1, 0)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(st.Mtim.Unix()), section.Close()
}

// stream sends the end of the log at path and then what is appended, until the
// client goes away, does not read for writeTimeout, or the server closes. It is
// the log of a process or, without names, the activity log.
func (ep *endpoint) stream(w http.ResponseWriter, r *http.Request, path, group, process string) {
	modified, err := readable(path)
	if err != nil {
		fail(w, http.StatusNotFound)
		return
	}
	if int(ep.follows.Add(1)) > ep.bounds.followers {
		ep.follows.Add(-1)
		w.Header().Set("Retry-After", "10")
		w.Header().Set("Connection", "close")
		reply(w, http.StatusServiceUnavailable, "text/plain;charset=utf-8",
			[]byte(fmt.Sprintf("%d logs are being followed already; max_followers= sets how many may be\n", ep.bounds.followers)))
		return
	}
	defer ep.follows.Add(-1)
	tails := &ep.srv.tails
	t, done := tails.add(group, process)
	defer done()
	w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(*ep.srv.streaming.Load(), cancel)
	defer stop()
	send := func(p []byte) error {
		if _, err := w.Write(p); err != nil {
			return err
		}
		return rc.Flush()
	}
	if st, err := safepath.Stat(path); err == nil && isNull(&st) {
		<-ctx.Done() // nothing will ever come
		return
	}
	err = logfile.Follow(ctx, path, -tailStart, send, func() error {
		if tails.wasCleared(t) {
			return nil
		}
		return send([]byte("==> File truncated <==\n"))
	})
	if err != nil && ctx.Err() == nil && !isTimeout(err) && !errors.Is(err, io.ErrClosedPipe) {
		ep.srv.log.Log("DEBG", fmt.Sprintf("stream of %q: %v", path, err))
	}
}
