package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sup/lib/trust"
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

// Obey says why root must not obey a configuration that Search has found, nil if
// it may: where root happens to be, somebody else may have put one. At the places
// in /etc nothing lies that root has not put there.
func Obey(file, dir string) *Problem {
	if file == "" || os.Geteuid() != 0 || strings.HasPrefix(file, "/etc/") {
		return nil
	}
	if dir == "" {
		dir = WorkingDir()
	}
	file = joinPath(dir, file)
	writers, err := trust.Strangers(file)
	if err == nil && len(writers) == 0 {
		return nil
	}
	reason := ""
	for _, w := range writers[:min(len(writers), 3)] {
		reason += ", " + w.String()
	}
	if err != nil {
		reason += ", " + err.Error()
	}
	return &Problem{
		Code: CodeStrangersFile, File: file,
		Message: "this configuration was found, not named, and root does not obey it since others can change it: " +
			strings.TrimPrefix(reason, ", ") + "; name it with -c FILE to use it all the same",
	}
}

func orDot(dir, path string) string {
	if filepath.IsAbs(path) {
		return "/"
	}
	return dir
}
