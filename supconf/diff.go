package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sup/lib/cli"
	"sup/lib/plan"
)

func diffVerb() *verb {
	return &verb{
		name:  "diff",
		args:  "[--json] [--offline] [-c FILE] [-s URL] | OLD NEW",
		short: "show what \"supctl update\" would change",
		help: `
Compares configurations as the daemon does when it rereads: which groups would
be added, changed and removed by "supctl update", and by which settings.

Without files the running daemon is asked how what it runs differs from the
configuration (of -c, or found at the usual places), and changes nothing. Its
address and the credentials are those of supctl: of -s, SUPERVISOR_PASSWORD and
[supervisorctl] of the file. The daemon does not tell every setting, such as
the environment; if one of these differs, the group is listed all the same.

With two files, these are compared. Settings of the daemon itself, which need a
restart, are listed apart.

The exit status is 0 if no group and no setting differs, 1 if any does, 2 if
one of the files cannot be used or the daemon does not answer.`,
		opts: []cli.Option{optConfig, {Short: 's', Long: "serverurl", Arg: true}, optJSON, optOffline},
		run:  runDiff,
	}
}

func runDiff(c *command) int {
	url, asked := c.opt("serverurl")
	switch {
	case len(c.args) == 0:
		return runDiffDaemon(c, url)
	case len(c.args) != 2:
		return c.usage(errors.New("want two files, or none to ask the daemon"))
	case asked || c.has("configuration"):
		return c.usage(errors.New("two files are compared without a daemon"))
	}
	var plans [2]*plan.Plan
	for i, file := range c.args {
		p, err := plan.Load(plan.Options{File: file, Offline: c.has("offline"), AnyPlugin: true})
		if err != nil {
			return c.fail(err)
		}
		plans[i] = p
	}
	return c.report(compare(plans[0], plans[1]))
}

// report prints a difference and returns the exit status that it means.
func (c *command) report(d *difference) int {
	if c.has("json") {
		if err := writeJSON(c, d); err != nil {
			return c.fail(err)
		}
	} else {
		d.print(c.Out)
	}
	if d.empty() {
		return exitOK
	}
	return exitFound
}

// difference is what changes from one plan to another.
type difference struct {
	Added   []string        `json:"added"`
	Changed []changedGroup  `json:"changed"`
	Removed []string        `json:"removed"`
	Daemon  []changedDetail `json:"restart_needed"`
}

// changedGroup is a group that is in both, but not alike.
type changedGroup struct {
	Name    string          `json:"name"`
	Details []changedDetail `json:"details"`
}

// changedDetail is one setting; Old or New is empty if it is not there.
type changedDetail struct {
	What string `json:"what"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

func (d *difference) empty() bool {
	return len(d.Added)+len(d.Changed)+len(d.Removed)+len(d.Daemon) == 0
}

// compare tells what changes from a plan to another.
func compare(old, new *plan.Plan) *difference {
	added, changed, removed := plan.Diff(old, new)
	d := &difference{Added: orEmpty(added), Changed: []changedGroup{}, Removed: orEmpty(removed), Daemon: []changedDetail{}}
	for _, name := range changed {
		a, b := findGroup(old, name), findGroup(new, name)
		d.Changed = append(d.Changed, changedGroup{name, details(flattenGroup(a), flattenGroup(b))})
	}
	d.Daemon = append(d.Daemon, details(flattenDaemon(old), flattenDaemon(new))...)
	return d
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func findGroup(p *plan.Plan, name string) *plan.Group {
	i := slices.IndexFunc(p.Groups, func(g plan.Group) bool { return g.Name == name })
	return &p.Groups[i]
}

// flattenGroup lists the settings of a group by name, in the words of the
// configuration.
func flattenGroup(g *plan.Group) map[string]string {
	d := dumpGroup(g)
	processes := d.Processes
	d.Processes = nil
	flat := make(map[string]string)
	flatten(flat, "", d)
	delete(flat, "processes")
	// The owner, mode and backlog of a socket are not compared.
	for _, key := range []string{"socket_owner", "socket_mode", "socket_backlog", "type"} {
		delete(flat, key)
	}
	for _, p := range processes {
		p.Section = ""
		flatten(flat, p.Name+": stdout_", p.StdoutExtra)
		flatten(flat, p.Name+": stderr_", p.StderrExtra)
		p.StdoutExtra, p.StderrExtra = dumpedStream{}, dumpedStream{}
		flatten(flat, p.Name+": ", p)
		delete(flat, p.Name+": section")
		delete(flat, p.Name+": argv")
		delete(flat, p.Name+": process_name")
	}
	return flat
}

// flattenDaemon lists the settings that a reread does not take over.
func flattenDaemon(p *plan.Plan) map[string]string {
	flat := make(map[string]string)
	flatten(flat, "[supervisord] ", dumpDaemonSection(&p.Daemon))
	// environment reaches the programs, and shows there.
	for k := range flat {
		if strings.HasPrefix(k, "[supervisord] environment") {
			delete(flat, k)
		}
	}
	d := newDump(p)
	for i, s := range p.Servers {
		if s.Unix {
			flatten(flat, "["+s.Section+"] ", d.UnixServers[i-len(d.InetServers)])
		} else {
			flatten(flat, "["+s.Section+"] ", d.InetServers[i])
		}
		delete(flat, "["+s.Section+"] name")
	}
	for _, r := range d.RPCInterfaces {
		flatten(flat, "[rpcinterface:"+r.Name+"] ", r)
		delete(flat, "[rpcinterface:"+r.Name+"] name")
	}
	return flat
}

// flatten puts the members of a value into flat, those of objects one by one.
func flatten(flat map[string]string, prefix string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(b, &members) != nil {
		return
	}
	for k, raw := range members {
		var object map[string]string
		if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &object) == nil {
			for name, text := range object {
				flat[prefix+k+" "+name] = fmt.Sprintf("%q", text)
			}
			continue
		}
		if string(raw) != "null" {
			flat[prefix+k] = string(raw)
		}
	}
}

// details lists what differs, sorted by name. A new log left to AUTO does not
// differ from what was there.
func details(a, b map[string]string) []changedDetail {
	names := make(map[string]bool, len(a))
	for k := range a {
		names[k] = true
	}
	for k := range b {
		names[k] = true
	}
	var list []changedDetail
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if a[k] == b[k] || strings.HasSuffix(k, "_logfile") && b[k] == `"AUTO"` {
			continue
		}
		list = append(list, changedDetail{k, a[k], b[k]})
	}
	return list
}

// print prints the difference for a person.
func (d *difference) print(w io.Writer) {
	for _, name := range d.Added {
		fmt.Fprintf(w, "added: %s\n", name)
	}
	for _, g := range d.Changed {
		fmt.Fprintf(w, "changed: %s\n", g.Name)
		if len(g.Details) == 0 {
			fmt.Fprintln(w, "    by settings that the daemon does not tell")
		}
		printDetails(w, g.Details)
	}
	for _, name := range d.Removed {
		fmt.Fprintf(w, "removed: %s\n", name)
	}
	if len(d.Daemon) > 0 {
		fmt.Fprintln(w, "needs a restart of the daemon:")
		printDetails(w, d.Daemon)
	}
}

func printDetails(w io.Writer, list []changedDetail) {
	show := func(s string) string {
		if s == "" {
			return "(not set)"
		}
		return s
	}
	for _, c := range list {
		fmt.Fprintf(w, "    %s: %s -> %s\n", c.What, show(c.Old), show(c.New))
	}
}
