package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func (s *settings) readConfig(prog string, file *string) error {
	s.serverURL = "http://localhost:9001"
	s.prompt = "supervisor"
	if file == nil {
		for _, p := range []string{"supervisord.conf", "etc/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"} {
			if _, err := os.Stat(p); err == nil {
				file = &p
				break
			}
		}
	}
	if file == nil {
		return nil
	}
	f, err := os.Open(*file)
	if err != nil {
		return fmt.Errorf("could not find config file %s", *file)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	section := ""
	ok := false
	for in.Scan() {
		l := strings.TrimSpace(in.Text())
		if strings.HasPrefix(l, "[") {
			section = strings.Trim(l, "[]")
			if section == "supervisorctl" {
				ok = true
			}
			continue
		}
		k, v, has := strings.Cut(l, "=")
		if section != "supervisorctl" || !has {
			continue
		}
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if i := strings.Index(v, " ;"); i >= 0 {
			v = strings.TrimSpace(v[:i])
		}
		switch k {
		case "serverurl":
			s.serverURL = v
		case "username":
			if s.username == nil {
				s.username = &v
			}
		case "password":
			if s.password == nil {
				s.password = &v
			}
		case "prompt":
			s.prompt = v
		case "history_file":
			s.historyFile = v
		}
	}
	if !ok {
		return fmt.Errorf("no [supervisorctl] section in %s", *file)
	}
	return nil
}
