package main

import (
	"path/filepath"
	"slices"
	"strings"
)

// background is what is known of a program that may go into the background
// by itself.
type background struct {
	// name is the program's, or the beginning of it if prefix is set.
	name   string
	prefix bool
	// foreground are arguments any of which keeps it in the foreground.
	foreground []string
	// background are arguments any of which sends it into the background,
	// for programs that stay in the foreground otherwise.
	background []string
	// hint says how to mend it.
	hint string
}

// backgrounds are programs that people often run under a supervisor.
var backgrounds = []background{
	{name: "nginx", foreground: []string{"daemon off"}, hint: `add -g "daemon off;"`},
	{name: "sshd", foreground: []string{"-D", "-d"}, hint: "add -D"},
	{name: "php-fpm", prefix: true, foreground: []string{"-F", "--nodaemonize"}, hint: "add -F"},
	{name: "apache2", foreground: []string{"FOREGROUND", "NO_DETACH", "-X"}, hint: "add -DFOREGROUND"},
	{name: "httpd", foreground: []string{"FOREGROUND", "NO_DETACH", "-X", "-f"}, hint: "add -DFOREGROUND"},
	{name: "apache2ctl", foreground: []string{"FOREGROUND"}, hint: "add -DFOREGROUND"},
	{name: "apachectl", foreground: []string{"FOREGROUND"}, hint: "add -DFOREGROUND"},
	{name: "cron", foreground: []string{"-f"}, hint: "add -f"},
	{name: "crond", foreground: []string{"-f", "-n"}, hint: "add -n"},
	{name: "rsyslogd", foreground: []string{"-n", "-N"}, hint: "add -n"},
	{name: "dnsmasq", foreground: []string{"-k", "-d", "--keep-in-foreground", "--no-daemon"}, hint: "add --keep-in-foreground"},
	{name: "haproxy", background: []string{"-D"}, hint: "remove -D"},
	{name: "memcached", background: []string{"-d", "--daemon"}, hint: "remove -d"},
	{name: "gunicorn", background: []string{"-D", "--daemon"}, hint: "remove --daemon"},
	{name: "uwsgi", background: []string{"-d", "--daemonize", "--daemonize2"}, hint: "remove --daemonize"},
	{name: "redis-server", background: []string{"--daemonize yes"}, hint: "write --daemonize no"},
	{name: "mongod", background: []string{"--fork"}, hint: "remove --fork"},
	{name: "supervisord", foreground: []string{"-n", "--nodaemon"}, hint: "add -n"},
	{name: "supd", foreground: []string{"-n", "--nodaemon"}, hint: "add -n"},
	{name: "service", background: []string{"start", "restart"}, hint: "run the program itself"},
	{name: "systemctl", background: []string{"start", "restart"}, hint: "run the program itself"},
	{name: "pg_ctl", background: []string{"start"}, hint: "run postgres itself"},
	{name: "screen", background: []string{"-dm", "-dmS", "-d"}, hint: "run the program itself"},
	{name: "tmux", background: []string{"-d"}, hint: "run the program itself"},
	{name: "docker", background: []string{"run -d", "run --detach", "up -d"}, hint: "remove -d"},
	{name: "docker-compose", background: []string{"-d"}, hint: "remove -d"},
}

// daemonizes returns how to keep a command in the foreground, "" if it stays
// there.
func daemonizes(argv []string) string {
	name := filepath.Base(argv[0])
	args := " " + strings.Join(argv[1:], " ") + " "
	// Arguments that only print something end at once.
	if len(argv) == 2 && slices.Contains([]string{"-v", "-V", "-t", "--version", "--help", "-h"}, argv[1]) {
		return ""
	}
	if strings.Contains(argv[0], "/init.d/") && strings.Contains(args, " start ") {
		return "run the program itself"
	}
	for _, b := range backgrounds {
		if b.name != name && !(b.prefix && strings.HasPrefix(name, b.name)) {
			continue
		}
		if len(b.foreground) > 0 {
			if !slices.ContainsFunc(b.foreground, func(f string) bool { return hasArg(args, f) }) {
				return b.hint
			}
		} else if slices.ContainsFunc(b.background, func(f string) bool { return strings.Contains(args, " "+f+" ") }) {
			return b.hint
		}
	}
	return ""
}

// hasArg reports whether the arguments hold one, short options perhaps in a
// bundle; a word without a dash may stand within another.
func hasArg(args, want string) bool {
	if !strings.HasPrefix(want, "-") {
		return strings.Contains(args, want)
	}
	for _, a := range strings.Fields(args) {
		if a == want || len(want) == 2 && len(a) > 2 && a[0] == '-' && a[1] != '-' && strings.Contains(a[1:], want[1:]) {
			return true
		}
	}
	return false
}
