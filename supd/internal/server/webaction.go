package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sup/lib/access"
	"sup/lib/rpc"
)

// errNoAction is returned for an action that does not exist.
var errNoAction = errors.New("no such action")

// shownAs is an error for which the page has words of its own.
type shownAs struct {
	words string
	error
}

func (s *shownAs) Unwrap() error { return s.error }

// action is what a button or a link of the page asks for.
type action struct{ name, process, group string }

func actionOf(values url.Values) action {
	return action{values.Get("action"), values.Get("processname"), values.Get("groupname")}
}

// changes tells whether the action does more than show the page.
func (a action) changes() bool { return a.name != "refresh" }

// actionVerbs are the actions that change something, with the beginnings of the
// labels of their buttons.
var actionVerbs = map[string]string{"start": "Start", "stop": "Stop", "restart": "Restart", "clearlog": "Clear the log of",
	"stopall": "Stop all programs", "restartall": "Restart all programs"}

// String says what is done, as the label of a button.
func (a action) String() string {
	verb, known := actionVerbs[a.name]
	switch {
	case !known:
		verb = a.name
	case a.group != "":
		return verb + " group " + a.group
	case a.name == "stopall" || a.name == "restartall":
		return verb
	}
	return verb + " " + a.process
}

// confirmPage asks whether an action is wanted.
type confirmPage struct {
	What, Action, Process, Group, Filter, Token string
}

// serveAction does an action, and sends the browser back to the page with a
// message. What another site could have made a browser ask for is asked back
// first.
func (ep *endpoint) serveAction(w http.ResponseWriter, r *http.Request, values url.Values) {
	a := actionOf(values)
	needs, target := a.right()
	if err := ep.srv.permit(r.Context(), access.From(r.Context()), needs, a.name, target); err != nil {
		ep.srv.auditAction(access.From(r.Context()), a, err)
		failBecause(w, http.StatusForbidden, faultOf(err).String)
		return
	}
	switch originOf(r) {
	case foreignOrigin:
		fail(w, http.StatusForbidden)
		return
	case unprovenOrigin:
		confirmed := r.Method == http.MethodPost && ep.srv.consents.valid(a, values.Get("token"))
		if a.changes() && !confirmed {
			render(w, "confirm.html", &confirmPage{printable(a.String()), a.name, a.process, a.group, values.Get("filter"), ep.srv.consents.token(a)})
			return
		}
	}
	// The action goes on when the browser does not wait for its end.
	ctx := access.With(ep.srv.ctx, access.From(r.Context()))
	message, err := ep.act(ctx, a)
	if errors.Is(err, errNoAction) {
		fail(w, http.StatusInternalServerError)
		return
	}
	if a.changes() {
		ep.srv.auditAction(access.From(ctx), a, err)
	}
	var shown *shownAs
	if errors.As(err, &shown) {
		message = shown.words
	} else if err != nil {
		message = unexpected(err)
	}
	noCache(w.Header())
	query := "?message=" + strings.ReplaceAll(url.QueryEscape(message), "+", "%20")
	if values.Get("from") == "page" {
		// Relative, so that it is right behind a proxy that adds a prefix.
		if filter := values.Get("filter"); filter != "" {
			query += "&filter=" + url.QueryEscape(filter)
		}
		w.Header().Set("Location", "index.html"+query)
		fail(w, http.StatusSeeOther)
		return
	}
	w.Header().Set("Location", ep.origin(r)+"/"+query)
	fail(w, http.StatusMovedPermanently)
}

// act does an action, and says what came of it.
func (ep *endpoint) act(ctx context.Context, a action) (string, error) {
	b := ep.srv.backend
	switch {
	case !a.changes():
		return "Page refreshed at " + ctime(), nil
	case a.group != "":
		return ep.groupAction(ctx, a.group, a.name)
	case a.name == "stopall":
		if _, err := b.StopAll(ctx, true); err != nil {
			return "", err
		}
		return "All stopped at " + ctime(), nil
	case a.name == "restartall":
		if _, err := b.StopAll(ctx, true); err != nil {
			return "", err
		}
		if _, err := b.StartAll(ctx, true); err != nil {
			return "", err
		}
		return "All restarted at " + ctime(), nil
	case a.process != "":
		return ep.processAction(ctx, a.process, a.name)
	}
	return "", errNoAction
}

// origin is the beginning of our URLs, as the client knows us.
func (ep *endpoint) origin(r *http.Request) string {
	if ep.tls != nil {
		return "https://" + strings.TrimSuffix(ep.hostFor(r), ":443")
	}
	return "http://" + strings.TrimSuffix(ep.hostFor(r), ":80")
}

// hostFor is the host that the client knows us by.
func (ep *endpoint) hostFor(r *http.Request) string {
	if host := r.Host; host != "" {
		return host
	}
	if ep.conf.Unix {
		return "localhost"
	}
	host := ep.conf.Host
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(ep.conf.Port))
}

func ctime() string { return time.Now().Format("Mon Jan _2 15:04:05 2006") }

func (ep *endpoint) processAction(ctx context.Context, name, action string) (string, error) {
	b := ep.srv.backend
	group, process, whole := splitName(name)
	missing := &shownAs{"No such process named " + name, rpc.NewFault(rpc.BadName, name)}
	if whole {
		return "", missing
	}
	if _, err := b.ProcessInfo(ctx, group, process); err != nil {
		if f := faultOf(err); f.Code == rpc.BadName {
			return "", missing
		}
		return "", err
	}
	switch action {
	case "start":
		if err := b.StartProcess(ctx, group, process, true); err != nil {
			err = quote(err, name)
			return "", &shownAs{"ERROR: Process " + name + ": " + startError(err), err}
		}
		return "Process " + name + " started", nil
	case "stop":
		if err := b.StopProcess(ctx, group, process, true); err != nil {
			return "", quote(err, name)
		}
		return "Process " + name + " stopped", nil
	case "restart":
		done := "Process " + name + " restarted"
		_ = b.StopProcess(ctx, group, process, true)
		if err := b.StartProcess(ctx, group, process, true); err != nil {
			// As for Supervisor: the table below the message shows the state.
			return "", &shownAs{done, quote(err, name)}
		}
		return done, nil
	case "clearlog":
		if err := b.ClearLogs(ctx, group, process); err != nil {
			return "", quote(err, name)
		}
		return "Log for " + name + " cleared", nil
	}
	return "", errNoAction
}

func (ep *endpoint) groupAction(ctx context.Context, group, action string) (string, error) {
	b := ep.srv.backend
	var err error
	var done string
	switch action {
	case "start":
		done = "started"
		_, err = b.StartGroup(ctx, group, true)
	case "stop":
		done = "stopped"
		_, err = b.StopGroup(ctx, group, true)
	case "restart":
		done = "restarted"
		if _, err = b.StopGroup(ctx, group, true); err == nil {
			_, err = b.StartGroup(ctx, group, true)
		}
	default:
		return "", errNoAction
	}
	if err != nil {
		return "", quote(err, group)
	}
	return "Group " + group + " " + done, nil
}

// startError says why a process could not be started.
func startError(err error) string {
	switch f := faultOf(err); f.Code {
	case rpc.NoFile:
		return "no such file"
	case rpc.NotExecutable:
		return "file not executable"
	case rpc.AlreadyStarted:
		return "already started"
	case rpc.SpawnError:
		return "spawn error"
	case rpc.AbnormalTermination:
		return "abnormal termination"
	}
	return unexpected(err)
}

func unexpected(err error) string {
	f := faultOf(err)
	return "unexpected rpc fault [" + strconv.Itoa(f.Code) + "] " + f.String
}
