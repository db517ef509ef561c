package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// elsewhere says why the log of a program cannot be read by its name: names such as
// /dev/stdout mean another file in every process, and a pipe or a terminal keeps
// nothing that could be read. Our own output must not be its own input.
func elsewhere(file string, remote bool) error {
	if target, yes := ownName(file, remote); yes {
		if target != file {
			file += " (" + target + ")"
		}
		return fmt.Errorf("it goes to %s, which is another file in every process and cannot be read here", file)
	}
	if remote {
		return nil
	}
	st, err := safepath.Stat(file)
	if err != nil {
		return nil
	}
	null := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3) // an empty file, as it were
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR && !null {
		return fmt.Errorf("it goes to %s, which is no file that keeps it", file)
	}
	var own unix.Stat_t
	if unix.Fstat(1, &own) == nil && own.Dev == st.Dev && own.Ino == st.Ino {
		return fmt.Errorf("%s is where the output goes, too, and would be copied to itself", file)
	}
	return nil
}

// ownName tells whether a name, or what it links to, stands for a descriptor of
// the process that uses it. The links of another machine are not ours to look at.
func ownName(file string, remote bool) (target string, yes bool) {
	const mostLinks = 10
	for range mostLinks {
		file = filepath.Clean(file)
		switch {
		case file == "/dev/stdin", file == "/dev/stdout", file == "/dev/stderr":
			return file, true
		case strings.HasPrefix(file, "/dev/fd/"), strings.HasPrefix(file, "/proc/"):
			return file, true
		case remote:
			return "", false
		}
		d, name, err := safepath.In(file)
		if err != nil {
			return "", false
		}
		text, err := d.Readlink(name)
		d.Close()
		if err != nil {
			return "", false
		}
		if !filepath.IsAbs(text) {
			text = filepath.Join(filepath.Dir(file), text)
		}
		file = text
	}
	return "", false
}
