package value

import (
	"slices"
	"testing"
)

func TestSplitLogs(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"/var/log/a.log", []string{"/var/log/a.log"}},
		{"/var/log/a,b.log", []string{"/var/log/a,b.log"}},
		{"/var/log/a, b.log", []string{"/var/log/a, b.log"}},
		{"a,syslogs", []string{"a,syslogs"}},
		{"/var/log/a.log, syslog", []string{"/var/log/a.log", "syslog"}},
		{"a.log,SYSLOG , /b,c.log", []string{"a.log", "SYSLOG", "/b,c.log"}},
		{"syslog, ~/x", []string{"syslog", "~/x"}},
		{"AUTO, ../x, ./y", []string{"AUTO", "../x", "./y"}},
		{"|logger -t a, /b, syslog", []string{"|logger -t a, /b, syslog"}},
		{"/a ,| tee /b, /c", []string{"/a", "| tee /b, /c"}},
		{"a,", []string{"a,"}},
		{",", []string{","}},
	} {
		if got := SplitLogs(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestSyslogFacility(t *testing.T) {
	for name, want := range map[string]int{"user": 1, "daemon": 3, "ftp": 11, "local0": 16, "local7": 23, "nothing": 1} {
		if got := SyslogFacility(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	for _, name := range SyslogFacilities {
		if !slices.Contains(facilityNumbers, name) {
			t.Errorf("%s has no number", name)
		}
	}
}
