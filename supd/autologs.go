package main

import (
	"regexp"

	"sup/lib/plan"
	"sup/lib/safepath"
)

// cleanAutoLogs removes the logs of AUTO names that an earlier daemon of our
// identifier has left, backups included. It is done when the sockets are ours:
// a second daemon by mistake must not cost the first its logs.
func cleanAutoLogs(cfg *plan.Daemon) {
	if cfg.NoCleanup {
		return
	}
	ours := regexp.MustCompile(`^.+?---` + regexp.QuoteMeta(cfg.Identifier) + `-\S+\.log\.{0,1}\d{0,4}`)
	dir, err := safepath.OpenDir(cfg.ChildLogDir)
	if err != nil {
		return
	}
	defer dir.Close()
	names, err := dir.Match(ours.MatchString)
	if err != nil {
		return
	}
	for _, name := range names {
		_ = dir.Remove(name) // which a directory withstands
	}
}
