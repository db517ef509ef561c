package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// SearchPaths are the places where the configuration file is looked for, in
// order. Program is how the program was called (argument 0): a bare name is
// looked up in PATH.
func SearchPaths(program string) []string {
	if !strings.Contains(program, "/") {
		if found, err := exec.LookPath(program); err == nil {
			program = found
		} else if exe, err := os.Executable(); err == nil {
			program = exe
		}
	}
	dir := parent(parent(program))
	return []string{
		filepathJoin(dir, "etc/supervisord.conf"),
		filepathJoin(dir, "supervisord.conf"),
		"supervisord.conf",
		"etc/supervisord.conf",
		"/etc/supervisord.conf",
		"/etc/supervisor/supervisord.conf",
	}
}

func parent(path string) string {
	dir, _ := splitPath(path)
	return dir
}

// Search returns the first of the paths that exists, "" if none does. A
// relative one is looked for in dir, "" for the current directory.
func Search(paths []string, dir string) string {
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join(orDot(dir, p), p)); err == nil {
			return p
		}
	}
	return ""
}

func orDot(dir, path string) string {
	if filepath.IsAbs(path) {
		return "/"
	}
	return dir
}
