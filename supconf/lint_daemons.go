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
	{name: "nginx", foreground: []string{"daemon off"}, hint: `add -g "daemon off;", in quotation marks`},
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
	{name: "dovecot", foreground: []string{"-F"}, hint: "add -F"},
	{name: "postfix", background: []string{"start"}, hint: "write postfix start-fg"},
	{name: "named", foreground: []string{"-f", "-g"}, hint: "add -f"},
	{name: "proftpd", foreground: []string{"-n", "--nodaemon"}, hint: "add --nodaemon"},
	{name: "snmpd", foreground: []string{"-f"}, hint: "add -f"},
	{name: "snmptrapd", foreground: []string{"-f"}, hint: "add -f"},
	{name: "ntpd", foreground: []string{"-n", "--nofork", "-d", "-D", "-q", "-gq"}, hint: "add -n"},
	{name: "chronyd", foreground: []string{"-n", "-d", "-q", "-Q"}, hint: "add -d"},
	{name: "celery", background: []string{"multi start", "multi restart", "worker --detach", "beat --detach", "--detach"}, hint: "run celery worker"},
	{name: "slapd", foreground: []string{"-d"}, hint: "add -d 0"},
	{name: "squid", foreground: []string{"-N", "--foreground"}, hint: "add -N"},
	{name: "smbd", foreground: []string{"-F", "--foreground", "-i"}, hint: "add --foreground"},
	{name: "nmbd", foreground: []string{"-F", "--foreground", "-i"}, hint: "add --foreground"},
	{name: "winbindd", foreground: []string{"-F", "--foreground", "-i"}, hint: "add --foreground"},
	{name: "lighttpd", foreground: []string{"-D"}, hint: "add -D"},
	{name: "exim", prefix: true, background: []string{"-bd"}, hint: "write -bdf"},
	{name: "atd", foreground: []string{"-f", "-d"}, hint: "add -f"},
	{name: "inetd", foreground: []string{"-d", "-i"}, hint: "add -i"},
	{name: "xinetd", foreground: []string{"-dontfork"}, hint: "add -dontfork"},
	{name: "rpcbind", foreground: []string{"-f", "-d"}, hint: "add -f"},
	{name: "varnishd", foreground: []string{"-F", "-d", "-C"}, hint: "add -F"},
	{name: "unbound", foreground: []string{"-d"}, hint: "add -d"},
	{name: "nsd", foreground: []string{"-d"}, hint: "add -d"},
	{name: "keepalived", foreground: []string{"-n", "--dont-fork"}, hint: "add --dont-fork"},
	{name: "zabbix_server", foreground: []string{"-f", "--foreground"}, hint: "add --foreground"},
	{name: "zabbix_agentd", foreground: []string{"-f", "--foreground", "-p", "-t"}, hint: "add --foreground"},
	{name: "zabbix_proxy", foreground: []string{"-f", "--foreground"}, hint: "add --foreground"},
	{name: "collectd", foreground: []string{"-f", "-T"}, hint: "add -f"},
	{name: "monit", foreground: []string{"-I"}, hint: "add -I"},
	{name: "tinyproxy", foreground: []string{"-d"}, hint: "add -d"},
	{name: "privoxy", foreground: []string{"--no-daemon"}, hint: "add --no-daemon"},
	{name: "twistd", foreground: []string{"-n", "--nodaemon"}, hint: "add --nodaemon"},
	{name: "spawn-fcgi", foreground: []string{"-n"}, hint: "add -n"},
	{name: "mysqld", background: []string{"--daemonize", "-D"}, hint: "remove --daemonize"},
	{name: "openvpn", background: []string{"--daemon"}, hint: "remove --daemon"},
	{name: "autossh", background: []string{"-f"}, hint: "remove -f"},
	{name: "ssh", background: []string{"-f"}, hint: "remove -f"},
	{name: "rsync", background: []string{"--daemon"}, hint: "add --no-detach"},
	{name: "unicorn", background: []string{"-D", "--daemonize"}, hint: "remove -D"},
	{name: "puma", background: []string{"-d", "--daemon"}, hint: "remove --daemon"},
	{name: "sidekiq", background: []string{"-d", "--daemon"}, hint: "remove --daemon"},
	{name: "rabbitmq-server", background: []string{"-detached"}, hint: "remove -detached"},
	{name: "elasticsearch", background: []string{"-d", "--daemonize"}, hint: "remove -d"},
	{name: "catalina.sh", background: []string{"start"}, hint: "write catalina.sh run"},
	{name: "zkServer.sh", background: []string{"start"}, hint: "write zkServer.sh start-foreground"},
	{name: "kafka-server-start.sh", background: []string{"-daemon"}, hint: "remove -daemon"},
	{name: "pm2", background: []string{"start"}, hint: "run pm2-runtime"},
	{name: "forever", background: []string{"start"}, hint: "run forever without start"},
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
			if !slices.ContainsFunc(b.foreground, func(f string) bool { return hasArg(argv[1:], f) }) {
				return b.hint
			}
		} else if name == "rsync" && hasArg(argv[1:], "--no-detach") {
			return ""
		} else if slices.ContainsFunc(b.background, func(f string) bool { return strings.Contains(args, " "+f+" ") }) {
			return b.hint
		}
	}
	return ""
}

// hasArg reports whether the arguments hold one, short options perhaps in a
// bundle; a word without a dash may stand within another.
func hasArg(args []string, want string) bool {
	for _, a := range args {
		if !strings.HasPrefix(want, "-") {
			if strings.Contains(a, want) {
				return true
			}
			continue
		}
		if a == want || strings.HasPrefix(want, "--") && strings.HasPrefix(a, want+"=") || len(want) == 2 && len(a) > 2 && a[0] == '-' && a[1] != '-' && strings.Contains(a[1:], want[1:]) {
			return true
		}
	}
	return false
}
