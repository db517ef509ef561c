package plan

import (
	"maps"
	"slices"
)

// Diff tells by name which groups differ between two plans: those in new
// only, those in both but not alike, and those in old only. Of several groups
// of one name the first counts.
func Diff(old, new *Plan) (added, changed, removed []string) {
	before, after := firstByName(old.Groups), firstByName(new.Groups)
	for i := range new.Groups {
		g := &new.Groups[i]
		if after[g.Name] != g {
			continue
		}
		switch o := before[g.Name]; {
		case o == nil:
			added = append(added, g.Name)
		case !SameGroup(o, g):
			changed = append(changed, g.Name)
		}
	}
	for i := range old.Groups {
		g := &old.Groups[i]
		if before[g.Name] == g && after[g.Name] == nil {
			removed = append(removed, g.Name)
		}
	}
	return added, changed, removed
}

func firstByName(groups []Group) map[string]*Group {
	m := make(map[string]*Group, len(groups))
	for i := range groups {
		g := &groups[i]
		if m[g.Name] == nil {
			m[g.Name] = g
		}
	}
	return m
}

// SameGroup reports whether two groups are alike: the kind, the priority, the
// processes, a listener's events, buffer and handler, the address of a socket.
// The owner, mode and backlog of a socket do not count.
func SameGroup(a, b *Group) bool {
	if a.Name != b.Name || a.Priority != b.Priority || !sameKind(a.Kind, b.Kind) ||
		len(a.Processes) != len(b.Processes) {
		return false
	}
	if a.Kind == KindEventListener && (a.BufferSize != b.BufferSize ||
		a.ResultHandler != b.ResultHandler || !slices.Equal(a.Events, b.Events)) {
		return false
	}
	if a.Kind == KindFCGI && a.Socket.URL != b.Socket.URL {
		return false
	}
	for i := range a.Processes {
		if !SameProcess(&a.Processes[i], &b.Processes[i]) {
			return false
		}
	}
	return true
}

// sameKind does not tell a group of one program from that program alone.
func sameKind(a, b Kind) bool {
	plain := func(k Kind) bool { return k == KindGroup || k == KindProgram }
	return a == b || plain(a) && plain(b)
}

// SameProcess reports whether two processes are alike in all that their
// configuration says. A log left to AUTO is like any other.
func SameProcess(a, b *Process) bool {
	return a.Name == b.Name &&
		a.Command == b.Command &&
		a.Directory == b.Directory && a.HasDirectory == b.HasDirectory &&
		a.Umask == b.Umask && a.HasUmask == b.HasUmask &&
		a.Priority == b.Priority &&
		a.AutoStart == b.AutoStart &&
		a.AutoRestart == b.AutoRestart &&
		a.StartSecs == b.StartSecs &&
		a.StartRetries == b.StartRetries &&
		slices.Equal(a.ExitCodes, b.ExitCodes) &&
		a.StopSignal == b.StopSignal &&
		a.StopWaitSecs == b.StopWaitSecs &&
		a.StopAsGroup == b.StopAsGroup &&
		a.KillAsGroup == b.KillAsGroup &&
		a.UID == b.UID &&
		a.RedirectStderr == b.RedirectStderr &&
		sameStream(&a.Stdout, &b.Stdout) &&
		sameStream(&a.Stderr, &b.Stderr) &&
		maps.Equal(a.Environment, b.Environment) &&
		a.ServerURL == b.ServerURL
}

func sameStream(a, b *Stream) bool {
	sameLog := a.Kind == LogAuto || b.Kind == LogAuto || a.Kind == b.Kind && a.Path == b.Path
	return sameLog &&
		a.MaxBytes == b.MaxBytes &&
		a.Backups == b.Backups &&
		a.CaptureMaxBytes == b.CaptureMaxBytes &&
		a.EventsEnabled == b.EventsEnabled &&
		a.Syslog == b.Syslog &&
		a.SyslogTag == b.SyslogTag &&
		a.SyslogFacility == b.SyslogFacility &&
		a.More == b.More &&
		a.Rotate == b.Rotate &&
		a.Dated == b.Dated &&
		a.Compress == b.Compress &&
		a.MaxAgeDays == b.MaxAgeDays &&
		a.Timestamp == b.Timestamp &&
		a.Prefix == b.Prefix &&
		a.Block == b.Block &&
		a.ReadWrite == b.ReadWrite
}
