package main

import (
	"os"
	"path/filepath"
	"regexp"

	"sup/lib/plan"
)

// cleanAutoLogs removes the logs of AUTO names that an earlier daemon of our
// identifier has left, backups included. It is done when the sockets are ours:
// a second daemon by mistake must not cost the first its logs.
func cleanAutoLogs(cfg *plan.Daemon) {
	if cfg.NoCleanup {
		return
	}
	ours := regexp.MustCompile(`^.+?---` + regexp.QuoteMeta(cfg.Identifier) + `-\S+\.log\.{0,1}\d{0,4}`)
	entries, err := os.ReadDir(cfg.ChildLogDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() && ours.MatchString(e.Name()) {
			_ = os.Remove(filepath.Join(cfg.ChildLogDir, e.Name()))
		}
	}
}
