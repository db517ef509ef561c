package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/spawn"
)

// dropPrivileges becomes the user of [supervisord] user=, for good. The result
// is a line for the activity log, "" if there is nothing to say.
func dropPrivileges(cfg *plan.Daemon) (string, error) {
	if cfg.UID < 0 {
		return "", nil
	}
	if os.Geteuid() != 0 {
		if os.Geteuid() == cfg.UID {
			return "", nil
		}
		//lint:ignore ST1005 Supervisor's words
		return "", errors.New("Can't drop privilege as nonroot user")
	}
	if cfg.UID != 0 {
		if err := spawn.SetUser(cfg.UID, cfg.GID, spawn.GroupsOf(cfg.UID, cfg.GID)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("Set uid to user %d succeeded", cfg.UID), nil
}

// raiseLimits sees to minfds= and minprocs= as far as it can be done before
// there is a child: the limit of open files that programs get is not known
// until then, see the daemon's raiseNoFile.
func raiseLimits(cfg *plan.Daemon) (lines []string, err error) {
	for _, l := range []struct {
		name     string
		resource int
		want     int
		key      string
	}{{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, cfg.MinFDs, "minfds"}, {"RLIMIT_NPROC", unix.RLIMIT_NPROC, cfg.MinProcs, "minprocs"}} {
		var lim unix.Rlimit
		if err := unix.Getrlimit(l.resource, &lim); err != nil {
			return lines, fmt.Errorf("cannot read %s: %w", l.name, err)
		}
		if l.want <= 0 || lim.Cur >= uint64(l.want) {
			continue
		}
		if _, err := spawn.RaiseLimit(l.resource, uint64(l.want), lim.Cur); err != nil {
			//lint:ignore ST1005 Supervisor's words
			return lines, fmt.Errorf("The minimum number of %s required to run this process is %d as per the %q setting, but only %d are allowed: %w; "+
				"hint: lower %s= or raise the limit (ulimit, LimitNOFILE=, LimitNPROC=)",
				map[string]string{"minfds": "file descriptors", "minprocs": "processes"}[l.key], l.want, l.key, lim.Max, err, l.key)
		}
		lines = append(lines, fmt.Sprintf("Increased %s limit to %d", l.name, l.want))
	}
	return lines, nil
}
