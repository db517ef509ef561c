package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"sup/lib/client"
	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/rpc"
)

// runDiffDaemon compares what the daemon runs with a configuration.
func runDiffDaemon(c *command, url string) int {
	file, _ := c.opt("configuration")
	p, err := plan.Load(plan.Options{File: file, Offline: c.has("offline"), AnyPlugin: true, Obeyed: true})
	if err != nil {
		return c.fail(err)
	}
	daemon, err := connect(p.File, url)
	if err != nil {
		return c.fail(err)
	}
	defer daemon.Close()
	d, err := compareActive(context.Background(), daemon, p)
	if err != nil {
		return c.fail(err)
	}
	return c.report(d)
}

// connect makes a client of the daemon at url, or of the one that
// [supervisorctl] of the file names.
func connect(file, url string) (*client.Client, error) {
	conf, err := config.LoadClient(config.ClientOptions{File: file, AnyPlugin: true})
	if err != nil {
		var p *config.Problem
		if url == "" || !errors.As(err, &p) || p.Code != config.CodeNoSupervisorctl {
			return nil, err
		}
		conf = &config.Client{}
	}
	if url == "" {
		url = conf.ServerURL
	}
	var username, password *string
	if conf.HasUsername {
		username = &conf.Username
	}
	if conf.HasPassword {
		password = &conf.Password
	}
	if text, ok := os.LookupEnv("SUPERVISOR_PASSWORD"); ok {
		password = &text
	}
	daemon, err := client.New(url, username, password)
	if err == nil {
		daemon.Trust(conf.Trusts)
		daemon.Secure(client.TLS(conf.TLS))
	}
	return daemon, err
}

// compareActive tells what "supctl update" would change. Which groups differ
// the daemon finds out, which knows all; by what, as far as clients are told.
func compareActive(ctx context.Context, daemon *client.Client, p *plan.Plan) (*difference, error) {
	groups, err := json.Marshal(p.Groups)
	if err != nil {
		return nil, err
	}
	changes, err := daemon.CompareGroups(ctx, string(groups))
	var fault *rpc.Fault
	if errors.As(err, &fault) && fault.Code == rpc.UnknownMethod {
		err = errors.New("the daemon cannot compare: it is not supd, or an older one; compare two files instead")
	}
	if err != nil {
		return nil, err
	}
	var told []toldProcess
	if err := daemon.Call(ctx, &told, "supervisor.getAllConfigInfo"); err != nil {
		return nil, err
	}
	d := &difference{
		Added: orEmpty(changes.Added), Changed: []changedGroup{}, Removed: orEmpty(changes.Removed), Daemon: []changedDetail{},
	}
	for _, name := range changes.Changed {
		before, after := make(map[string]string), flattenGroup(findGroup(p, name))
		for i := range told {
			if told[i].Group == name {
				told[i].flatten(before)
			}
		}
		hide(before, after)
		d.Changed = append(d.Changed, changedGroup{name, orNone(details(before, after))})
	}
	return d, nil
}

func orNone(d []changedDetail) []changedDetail {
	if d == nil {
		return []changedDetail{}
	}
	return d
}

// toldProcess is what getAllConfigInfo tells of a process, as far as it can be
// compared. Unset texts are "none".
type toldProcess struct {
	Name         string `xmlrpc:"name" json:"-"`
	Group        string `xmlrpc:"group" json:"-"`
	GroupPrio    any    `xmlrpc:"group_prio" json:"-"`
	Priority     any    `xmlrpc:"process_prio" json:"priority"`
	AutoStart    any    `xmlrpc:"autostart" json:"autostart"`
	AutoRestart  any    `xmlrpc:"autorestart" json:"autorestart"`
	Command      any    `xmlrpc:"command" json:"command"`
	Directory    any    `xmlrpc:"directory" json:"directory"`
	ExitCodes    any    `xmlrpc:"exitcodes" json:"exitcodes"`
	KillAsGroup  any    `xmlrpc:"killasgroup" json:"killasgroup"`
	Redirect     any    `xmlrpc:"redirect_stderr" json:"redirect_stderr"`
	StartRetries any    `xmlrpc:"startretries" json:"startretries"`
	StartSecs    any    `xmlrpc:"startsecs" json:"startsecs"`
	StopSignal   any    `xmlrpc:"stopsignal" json:"stopsignal"`
	StopWaitSecs any    `xmlrpc:"stopwaitsecs" json:"stopwaitsecs"`
	ServerURL    any    `xmlrpc:"serverurl" json:"serverurl"`

	StdoutLogfile  any `xmlrpc:"stdout_logfile" json:"stdout_logfile"`
	StdoutMaxBytes any `xmlrpc:"stdout_logfile_maxbytes" json:"stdout_logfile_maxbytes"`
	StdoutBackups  any `xmlrpc:"stdout_logfile_backups" json:"stdout_logfile_backups"`
	StdoutCapture  any `xmlrpc:"stdout_capture_maxbytes" json:"stdout_capture_maxbytes"`
	StdoutEvents   any `xmlrpc:"stdout_events_enabled" json:"stdout_events_enabled"`
	StdoutSyslog   any `xmlrpc:"stdout_syslog" json:"stdout_syslog"`
	StderrLogfile  any `xmlrpc:"stderr_logfile" json:"stderr_logfile"`
	StderrMaxBytes any `xmlrpc:"stderr_logfile_maxbytes" json:"stderr_logfile_maxbytes"`
	StderrBackups  any `xmlrpc:"stderr_logfile_backups" json:"stderr_logfile_backups"`
	StderrCapture  any `xmlrpc:"stderr_capture_maxbytes" json:"stderr_capture_maxbytes"`
	StderrEvents   any `xmlrpc:"stderr_events_enabled" json:"stderr_events_enabled"`
	StderrSyslog   any `xmlrpc:"stderr_syslog" json:"stderr_syslog"`
}

// flatten puts the settings of a process, and of its group, into flat in the
// words that flattenGroup has for them.
func (t *toldProcess) flatten(flat map[string]string) {
	flatten(flat, t.Name+": ", t)
	flatten(flat, "", struct {
		Priority any `json:"priority"`
	}{t.GroupPrio})
	for k, v := range flat {
		if v == `"none"` {
			flat[k] = ""
		} else if v == `"auto"` {
			flat[k] = `"AUTO"`
		}
	}
}

// hide takes out of after what a daemon does not tell of processes that both
// sides have.
func hide(before, after map[string]string) {
	process := func(key string) string {
		i := strings.LastIndex(key, ": ")
		return key[:max(i, 0)]
	}
	var common []string
	for k := range before {
		common = append(common, process(k))
	}
	slices.Sort(common)
	for k := range after {
		_, known := slices.BinarySearch(common, process(k))
		if _, told := before[k]; known && !told {
			delete(after, k)
		}
	}
}
