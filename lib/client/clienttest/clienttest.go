// Package clienttest stands in for a daemon in tests of its clients.
package clienttest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"sup/lib/rpc"
)

// Method answers a call. Arguments come as text, whatever their type was. The
// answer is a bool, an integer, a string, a slice, a struct with xmlrpc tags, a
// map[string]any, a *rpc.Fault, or an HTTPStatus.
type Method func(args []string) any

// HTTPStatus is an answer that is not XML-RPC at all.
type HTTPStatus int

// Daemon is a server on a Unix socket that knows the methods it is given. A
// method it does not know is answered with true, except that getVersion is
// always there.
type Daemon struct {
	// Path is the socket's file, URL the server URL for it.
	Path, URL string
	// Auth is "user:password" if the daemon wants credentials.
	Auth string
	// Log serves everything but XML-RPC; nil for 404.
	Log http.Handler

	mu      sync.Mutex
	methods map[string]Method
	calls   []string
	conns   int
	server  *httptest.Server
}

// Start starts a daemon that ends with the test.
func Start(t testing.TB) *Daemon {
	t.Helper()
	// Paths of sockets are short; those of t.TempDir need not be.
	d := &Daemon{Path: filepath.Join(t.TempDir(), "s"), methods: make(map[string]Method)}
	d.URL = "unix://" + d.Path
	listener, err := net.Listen("unix", d.Path)
	if err != nil {
		t.Fatal(err)
	}
	d.Handle("getVersion", func([]string) any { return "3.0" })
	d.server = httptest.NewUnstartedServer(d)
	d.server.Listener.Close()
	d.server.Listener = listener
	d.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			d.mu.Lock()
			d.conns++
			d.mu.Unlock()
		}
	}
	d.server.Start()
	t.Cleanup(d.Close)
	return d
}

// Close ends the daemon. The socket's file goes with it.
func (d *Daemon) Close() {
	d.server.CloseClientConnections()
	d.server.Close()
}

// CloseConnections drops the connections of all clients.
func (d *Daemon) CloseConnections() { d.server.CloseClientConnections() }

// Handle sets the method supervisor.NAME.
func (d *Daemon) Handle(name string, m Method) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.methods["supervisor."+name] = m
}

// Answer sets the method supervisor.NAME to one that always gives the same
// answer.
func (d *Daemon) Answer(name string, answer any) {
	d.Handle(name, func([]string) any { return answer })
}

// Calls returns the calls so far, as "name(arg, arg)", those of getVersion
// left out.
func (d *Daemon) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.calls...)
}

// Connections returns the number of connections that were made so far.
func (d *Daemon) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns
}

type call struct {
	Method string `xml:"methodName"`
	Params []struct {
		Value struct {
			Inner string `xml:",innerxml"`
		} `xml:"value"`
	} `xml:"params>param"`
}

func (d *Daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.Auth != "" {
		user, password, _ := r.BasicAuth()
		if user+":"+password != d.Auth {
			w.Header().Set("WWW-Authenticate", `Basic realm="default"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	if r.URL.Path != "/RPC2" {
		if d.Log == nil {
			http.NotFound(w, r)
			return
		}
		d.Log.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	var c call
	if err == nil {
		err = xml.Unmarshal(body, &c)
	}
	if err != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	args := make([]string, len(c.Params))
	for i, p := range c.Params {
		args[i] = text(p.Value.Inner)
	}
	answer := d.call(c.Method, args)
	if status, ok := answer.(HTTPStatus); ok {
		w.WriteHeader(int(status))
		return
	}
	doc := Response(answer)
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", fmt.Sprint(len(doc)))
	io.WriteString(w, doc)
}

func (d *Daemon) call(name string, args []string) any {
	d.mu.Lock()
	m := d.methods[name]
	if short := strings.TrimPrefix(name, "supervisor."); short != "getVersion" {
		d.calls = append(d.calls, short+"("+strings.Join(args, ", ")+")")
	}
	d.mu.Unlock()
	if m == nil {
		return true
	}
	return m(args)
}

// text returns the text of an XML fragment without its tags.
func text(fragment string) string {
	decoder := xml.NewDecoder(strings.NewReader(fragment))
	var b strings.Builder
	for {
		token, err := decoder.Token()
		if err != nil {
			return b.String()
		}
		if data, ok := token.(xml.CharData); ok {
			b.Write(data)
		}
	}
}

// Response returns the document that answers a call, laid out as Supervisor
// does it.
func Response(answer any) string {
	if fault, ok := answer.(*rpc.Fault); ok {
		return "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n" +
			value(reflect.ValueOf(map[string]any{"faultCode": fault.Code, "faultString": fault.String})) +
			"</fault>\n</methodResponse>\n"
	}
	return "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n" + value(reflect.ValueOf(answer)) +
		"</param>\n</params>\n</methodResponse>\n"
}

func value(v reflect.Value) string {
	var b strings.Builder
	b.WriteString("<value>")
	switch v.Kind() {
	case reflect.Interface:
		return value(v.Elem())
	case reflect.Bool:
		n := 0
		if v.Bool() {
			n = 1
		}
		fmt.Fprintf(&b, "<boolean>%d</boolean>", n)
	case reflect.Int, reflect.Int64:
		fmt.Fprintf(&b, "<int>%d</int>", v.Int())
	case reflect.String:
		b.WriteString("<string>")
		b.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(v.String()))
		b.WriteString("</string>")
	case reflect.Slice:
		b.WriteString("<array><data>\n")
		for i := range v.Len() {
			b.WriteString(value(v.Index(i)))
		}
		b.WriteString("</data></array>")
	case reflect.Struct:
		b.WriteString("<struct>\n")
		for i := range v.NumField() {
			member(&b, v.Type().Field(i).Tag.Get("xmlrpc"), v.Field(i))
		}
		b.WriteString("</struct>")
	case reflect.Map:
		b.WriteString("<struct>\n")
		for _, key := range v.MapKeys() {
			member(&b, key.String(), v.MapIndex(key))
		}
		b.WriteString("</struct>")
	default:
		panic(fmt.Sprintf("clienttest: cannot send a %v", v.Kind()))
	}
	b.WriteString("</value>\n")
	return b.String()
}

func member(b *strings.Builder, name string, v reflect.Value) {
	fmt.Fprintf(b, "<member>\n<name>%s</name>\n%s</member>\n", name, value(v))
}
