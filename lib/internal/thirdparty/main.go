// Thirdparty prints the licences of everything by others that is linked into
// binaries: Go's own library, and each module, by name and version, with the texts
// that its folder has. What is linked is read from the binaries themselves.
//
//	go run ./lib/internal/thirdparty bin/* >THIRD-PARTY
//
// The texts come from the module cache, so that no network is needed after a
// build. A module without a licence is an error.
package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "thirdparty: %v\n", err)
		os.Exit(1)
	}
}

func run(out io.Writer, binaries []string) error {
	if len(binaries) == 0 {
		return errors.New("usage: thirdparty BINARY, or several")
	}
	modules := map[string]module{}
	for _, name := range binaries {
		info, err := buildinfo.ReadFile(name)
		if err != nil {
			return fmt.Errorf("cannot read what is linked into %s: %w", name, err)
		}
		golang, err := standardLibrary(info.GoVersion)
		if err != nil {
			return err
		}
		modules[golang.name] = golang
		for _, dep := range info.Deps {
			if dep.Replace != nil {
				dep = dep.Replace
			}
			if strings.HasPrefix(dep.Path, "sup/") || strings.HasPrefix(dep.Path, ".") {
				continue
			}
			m, err := cached(dep)
			if err != nil {
				return err
			}
			modules[m.name] = m
		}
	}
	fmt.Fprint(out, "The tools of sup contain software of others, under the licences that follow.\n")
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if err := modules[name].write(out); err != nil {
			return err
		}
	}
	return nil
}

// module is a part by others: its name with the version, and its folder.
type module struct{ name, dir string }

func standardLibrary(version string) (module, error) {
	root, err := goEnv("GOROOT")
	return module{"Go's standard library " + version, root}, err
}

// cached finds a module in the cache, where the build has put it.
func cached(dep *debug.Module) (module, error) {
	cache, err := goEnv("GOMODCACHE")
	dir := filepath.Join(cache, filepath.FromSlash(escape(dep.Path)+"@"+escape(dep.Version)))
	return module{dep.Path + " " + dep.Version, dir}, err
}

func goEnv(name string) (string, error) {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		return "", fmt.Errorf("cannot ask go for %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// capital is a letter that the cache writes as "!" and the small one, for file
// systems that do not tell them apart.
var capital = regexp.MustCompile(`[A-Z]`)

func escape(text string) string {
	return capital.ReplaceAllStringFunc(text, func(c string) string { return "!" + strings.ToLower(c) })
}

// legal are the files that say what may be done with a module.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// write prints the texts of a module below its name.
func (m module) write(out io.Writer) error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return fmt.Errorf("cannot read the folder of %s: %w", m.name, err)
	}
	rule := strings.Repeat("=", 78)
	fmt.Fprintf(out, "\n%s\n%s\n%s\n", rule, m.name, rule)
	licensed := false
	for _, e := range entries {
		if !e.Type().IsRegular() || !legal.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.dir, e.Name()))
		if err != nil {
			return fmt.Errorf("cannot read a licence of %s: %w", m.name, err)
		}
		fmt.Fprintf(out, "\n%s\n", bytes.TrimRight(text, "\n"))
		licensed = licensed || !strings.EqualFold(e.Name(), "patents")
	}
	if !licensed {
		return fmt.Errorf("%s has no licence in %s", m.name, m.dir)
	}
	return nil
}
