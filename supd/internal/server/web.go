package server

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"sup/lib/access"
	"sup/lib/logfile"
	"sup/lib/rpc"
)

//go:embed assets
var assets embed.FS

// templates are parsed when the page is first asked for; most daemons never
// are.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").ParseFS(assets, "assets/*.html"))
})

// policy is what the pages may load: their own files, nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// servePage serves the page for people and what belongs to it; name is the path
// without the slashes at its beginning.
func (ep *endpoint) servePage(w http.ResponseWriter, r *http.Request, name string) {
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !get && r.Method != http.MethodPost {
		fail(w, http.StatusBadRequest)
		return
	}
	switch name {
	case "", "index.html":
		ep.serveStatus(w, r)
		return
	case "tail.html":
		ep.serveTailPage(w, r)
		return
	case "ok.html":
		reply(w, http.StatusOK, "text/plain", []byte("OK"))
		return
	}
	if !get {
		fail(w, http.StatusBadRequest)
		return
	}
	if name == "metrics" {
		ep.serveMetrics(w, r)
		return
	}
	dir, _, _ := strings.Cut(name, "/")
	if dir != "stylesheets" && dir != "images" && dir != "scripts" || path.Clean(name) != name {
		fail(w, http.StatusNotFound)
		return
	}
	data, err := assets.ReadFile("assets/" + name)
	if err != nil {
		fail(w, http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "max-age=3600")
	// Bare, as Supervisor has it: the files are plain ASCII.
	kind, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(name)), ";")
	reply(w, http.StatusOK, kind, data)
}

// render sends a page. It is never to be kept: it shows a moment.
func render(w http.ResponseWriter, page string, data any) {
	reply(w, http.StatusOK, pageType, fill(w, page, data))
}

const pageType = "text/html;charset=utf-8"

// fill makes a page, and sets what its header has to say of it.
func fill(w http.ResponseWriter, page string, data any) []byte {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, page, data); err != nil {
		panic(err)
	}
	h := w.Header()
	noCache(h)
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	return b.Bytes()
}

func noCache(h http.Header) {
	h.Set("Pragma", "no-cache")
	h.Set("Cache-Control", "no-cache")
	h.Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
}

// maxForm bounds the form of an action, in bytes.
const maxForm = 64 << 10

// form returns the values of the query and of a form that was posted, where
// the latter count. Bad encoding is passed over.
func form(w http.ResponseWriter, r *http.Request) url.Values {
	values := r.URL.Query()
	if r.Method == http.MethodPost {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if err == nil {
			posted, _ := url.ParseQuery(string(data))
			for k, v := range posted {
				values[k] = v
			}
		}
	}
	return values
}

// row is a process in the table of the page.
type row struct {
	rpc.ProcessInfo
	May bool // whoever sees the page may act on it
}

// FullName is the name by which the process is called, to be looked at.
func (r row) FullName() string { return printable(r.name()) }

func (r row) name() string { return joinName(r.Group, r.Name) }

// About is the description, to be looked at.
func (r row) About() string { return printable(r.Description) }

// printable puts a sign in the place of each character that is none: of names
// and texts that somebody else has chosen, what is seen is all that there is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Escaped is the full name as part of a link.
func (r row) Escaped() template.URL { return escaped(r.name()) }

// escaped writes a text so that it can stand anywhere in a link, and as
// Supervisor writes it: g%3Ax.
func escaped(s string) template.URL {
	return template.URL(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"))
}

// Lower is the name of the state in lower case.
func (r row) Lower() string { return strings.ToLower(r.StateName) }

// Class is the style of its state.
func (r row) Class() string {
	switch r.State {
	case 20:
		return "running"
	case 30, 200:
		return "error"
	}
	return "nominal"
}

// Startable and Stoppable say which actions make sense.
func (r row) Startable() bool { return r.State == 0 || r.State == 100 || r.State == 200 }

// Stoppable is the opposite, but for the states in between.
func (r row) Stoppable() bool { return r.State == 20 }

// section is a group in the table. A program that is its own group, as most
// are, needs no heading.
type section struct {
	Group   string
	Heading bool
	May     bool // whoever sees the page may act on all of it
	Rows    []row
}

// Title is the name of the group, to be looked at.
func (s section) Title() string { return printable(s.Group) }

// EscapedGroup is the name of the group as part of a link.
func (s section) EscapedGroup() template.URL { return escaped(s.Group) }

// statusPage is what the status page shows.
type statusPage struct {
	Identifier, Version, Message, State, Filter string
	Sections                                    []section
	Total, Running, Shown                       int
	MainLog                                     bool
	// MayAll tells whether whoever sees the page may act on all processes.
	MayAll bool
}

func (ep *endpoint) serveStatus(w http.ResponseWriter, r *http.Request) {
	values := form(w, r)
	if values.Get("action") != "" && r.Method != http.MethodHead {
		ep.serveAction(w, r, values)
		return
	}
	s := ep.srv
	infos, err := s.backend.AllProcessInfo(r.Context())
	if err != nil && r.Context().Err() != nil {
		s.aborted.Add(1) // browsers do that all the time
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		s.log.Log("WARN", fmt.Sprintf("cannot show the status page: %v", err))
		fail(w, http.StatusServiceUnavailable)
		return
	}
	page := statusPage{
		Identifier: s.backend.Identification(), Version: s.opts.Version, Message: printable(values.Get("message")),
		Filter: values.Get("filter"), MainLog: s.backend.MainLogPath() != "", Total: len(infos),
	}
	if state := s.backend.State(); state.Code < stateRunning {
		page.State = state.Name
	}
	page.add(infos, access.From(r.Context()))
	render(w, "status.html", &page)
}

func (p *statusPage) add(infos []rpc.ProcessInfo, client *access.Client) {
	// A group may hold more than is shown.
	barred := make(map[string]bool)
	p.MayAll = client.Role >= access.Operate
	for i := range infos {
		if !client.MayOperate(infos[i].Group, infos[i].Name) {
			barred[infos[i].Group] = true
			p.MayAll = false
		}
	}
	wanted := strings.ToLower(p.Filter)
	for _, info := range infos {
		if info.State == 20 {
			p.Running++
		}
		r := row{info, client.MayOperate(info.Group, info.Name)}
		if !strings.Contains(strings.ToLower(r.name()), wanted) {
			continue
		}
		p.Shown++
		n := len(p.Sections)
		if n == 0 || p.Sections[n-1].Group != info.Group {
			p.Sections = append(p.Sections, section{Group: info.Group, May: !barred[info.Group]})
			n++
		}
		sec := &p.Sections[n-1]
		sec.Rows = append(sec.Rows, r)
		sec.Heading = sec.Heading || info.Name != info.Group
	}
}

// tailPage is what the page with the end of a log shows.
type tailPage struct {
	Name, Channel, Text string
	Main                bool
	Limit, More         int64
}

// Title is the name of the process, to be looked at.
func (p *tailPage) Title() string { return printable(p.Name) }

// serveTailPage shows the end of a log: processname=, with channel=stderr if
// wanted, or log=main; limit= is the number of bytes.
func (ep *endpoint) serveTailPage(w http.ResponseWriter, r *http.Request) {
	values := form(w, r)
	page := tailPage{Name: values.Get("processname"), Channel: "stdout", Main: values.Get("log") == "main", Limit: tailStart}
	if values.Get("channel") == "stderr" {
		page.Channel = "stderr"
	}
	if n, err := strconv.ParseInt(values.Get("limit"), 10, 64); err == nil {
		page.Limit = min(max(n, tailStart), maxTailPage)
	}
	page.More = min(page.Limit*8, maxTailPage)
	var log *logfile.Section
	switch {
	case page.Main:
		page.Text, log = lastBytes(ep.srv.backend.MainLogPath(), "the activity log", page.Limit)
	case page.Name == "":
		page.Text = "No process name found"
	default:
		page.Text, log = ep.tailText(r.Context(), page.Name, page.Channel, page.Limit)
	}
	if log == nil {
		render(w, "tail.html", &page)
		return
	}
	defer log.Close()
	if err := renderLog(w, &page, log); err != nil {
		// The length of the page has been announced.
		panic(http.ErrAbortHandler)
	}
}

// maxTailPage bounds how much of a log a page shows, in bytes.
const maxTailPage = 8 << 20

// renderLog sends a page with a log that is read while it is sent: many clients
// may ask for large pages, and take their time.
func renderLog(w http.ResponseWriter, page *tailPage, log *logfile.Section) error {
	size, err := encodeLog(io.Discard, log, appendHTML)
	if err != nil {
		page.Text = "No file for " + printable(page.Name)
		render(w, "tail.html", page)
		return nil
	}
	const before = "<pre>"
	body := fill(w, "tail.html", page)
	at := bytes.LastIndex(body, []byte(before)) + len(before)
	h := w.Header()
	h.Set("Content-Type", pageType)
	h.Set("Content-Length", strconv.FormatInt(int64(len(body))+size, 10))
	if _, err := w.Write(body[:at]); err != nil {
		return err
	}
	if err := sendLog(w, log, size, appendHTML); err != nil {
		return err
	}
	_, err = w.Write(body[at:])
	return err
}

func appendHTML(document []byte, text string) []byte {
	return append(document, template.HTMLEscapeString(strings.ToValidUTF8(text, "\uFFFD"))...)
}

func (ep *endpoint) tailText(ctx context.Context, name, channel string, limit int64) (string, *logfile.Section) {
	group, process, whole := splitName(name)
	if whole {
		return "ERROR: " + printable(unexpected(rpc.NewFault(rpc.BadName, name))), nil
	}
	path, err := ep.srv.backend.LogPath(ctx, group, process, channel)
	if err != nil {
		return "ERROR: " + printable(unexpected(quote(err, name))), nil
	}
	return lastBytes(path, name, limit)
}

// lastBytes is the end of a log, or why there is none; if it is not small, the
// part of the file.
func lastBytes(path, name string, limit int64) (string, *logfile.Section) {
	none := "No file for " + printable(name)
	if path == "" {
		return none, nil
	}
	if limit > smallLog {
		if section, err := logfile.OpenSection(path, -limit, 0); err == nil {
			return "", section
		}
		return none, nil
	}
	text, err := logfile.Read(path, -limit, 0)
	if err != nil {
		return none, nil
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), nil
}
