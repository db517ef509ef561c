package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writableByOthers tells which of some files of the configuration somebody
// other than root could change, as lines for the activity log: who can write
// the configuration of a daemon that runs as root is root. For an ordinary user
// there is nothing to say.
func writableByOthers(files []string) (lines []string) {
	if os.Geteuid() != 0 {
		return nil
	}
	seen := map[string]bool{}
	look := func(path, what string) {
		if seen[path] {
			return
		}
		seen[path] = true
		fi, err := os.Stat(path)
		if err != nil {
			return
		}
		if who := otherWriter(fi); who != "" {
			lines = append(lines, fmt.Sprintf("%s %s is writable by %s, who can thereby run commands as root", what, path, who))
		}
	}
	for _, file := range files {
		look(file, "configuration file")
		look(filepath.Dir(file), "the directory of configuration files")
	}
	return lines
}

// otherWriter names those beside root who can write a file, or replace files
// in a directory; "" if there are none.
func otherWriter(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	perm := fi.Mode().Perm()
	// In a sticky directory only the owner of a file can replace it.
	sticky := fi.IsDir() && fi.Mode()&fs.ModeSticky != 0
	switch {
	case !ok:
		return ""
	case perm&0o002 != 0 && !sticky:
		return "every user"
	case perm&0o020 != 0 && st.Gid != 0 && !sticky:
		return fmt.Sprintf("group %d", st.Gid)
	case perm&0o200 != 0 && st.Uid != 0:
		return fmt.Sprintf("user %d", st.Uid)
	}
	return ""
}
