package value

import (
	"slices"
	"strings"
)

// SplitLogs cuts the value of a log key into the logs that it names. A comma is
// part of a path unless what follows it, after blanks, can only be another log:
// the word syslog, a command after a bar, or a path that begins with "/", "./",
// "../" or "~". A command takes the rest of the value.
func SplitLogs(text string) []string {
	var list []string
	for rest := text; ; {
		if strings.HasPrefix(rest, "|") {
			return append(list, rest)
		}
		i := nextLog(rest)
		if i < 0 {
			return append(list, rest)
		}
		list = append(list, Trim(rest[:i]))
		rest = Trim(rest[i+1:])
	}
}

// nextLog gives the position of the first comma that ends a log, -1 if there
// is none.
func nextLog(text string) int {
	for at := 0; ; at++ {
		i := strings.IndexByte(text[at:], ',')
		if i < 0 {
			return -1
		}
		at += i
		next := Trim(text[at+1:])
		word, _, _ := strings.Cut(next, ",")
		if Lower(Trim(word)) == "syslog" {
			return at
		}
		for _, begin := range []string{"/", "./", "../", "~", "|"} {
			if strings.HasPrefix(next, begin) {
				return at
			}
		}
	}
}

// SyslogFacilities are the names of syslog's facilities, the default first.
var SyslogFacilities = []string{
	"user", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	"auth", "authpriv", "cron", "ftp", "lpr", "mail", "news", "syslog", "uucp",
}

// facilityNumbers are the numbers of syslog(3).
var facilityNumbers = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	12: "", 16: "local0", 17: "local1", 18: "local2", 19: "local3", 20: "local4", 21: "local5", 22: "local6", 23: "local7",
}

// SyslogFacility is the number of a facility, as in syslog(3); that of user for
// a name that is none.
func SyslogFacility(name string) int { return max(slices.Index(facilityNumbers, name), 1) }
