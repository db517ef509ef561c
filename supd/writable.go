package main

import (
	"fmt"
	"os"

	"sup/lib/trust"
)

// writableByOthers tells which of some files of the configuration, or which
// directory or link on the way there, somebody other than root could change, as
// lines for the activity log: who can write the configuration of a daemon that
// runs as root is root. For an ordinary user there is nothing to say.
func writableByOthers(files []string) (lines []string) {
	if os.Geteuid() != 0 {
		return nil
	}
	kinds := map[string]string{
		"file": "configuration file", "directory": "the directory of configuration files", "link": "the link to configuration files",
	}
	seen := map[string]bool{}
	for _, file := range files {
		writers, err := trust.Strangers(file)
		if err != nil {
			continue
		}
		for _, w := range writers {
			if seen[w.Path] || w.Make != "" {
				continue
			}
			seen[w.Path] = true
			lines = append(lines, fmt.Sprintf("%s %s is writable by %s, who can thereby run commands as root", kinds[w.What], w.Path, w.Who()))
		}
	}
	return lines
}
