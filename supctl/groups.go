package main

import (
	"context"
	"slices"
	"strings"

	"sup/lib/client"
	"sup/lib/rpc"
)

// reread makes the daemon read its configuration and tells what is different.
func reread(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	changes, err := daemon.ReloadConfig(ctx)
	switch faultCode(err) {
	case rpc.ShutdownState:
		s.fail(exitGeneric, "ERROR: supervisor shutting down")
		return nil
	case rpc.CantReread:
		s.fail(exitGeneric, "ERROR: %s", strings.ReplaceAll(describe(err), "\n", " "))
		return nil
	}
	if err != nil {
		return err
	}
	words := make(map[string]string)
	for _, group := range changes.Added {
		words[group] = "available"
	}
	for _, group := range changes.Changed {
		words[group] = "changed"
	}
	for _, group := range changes.Removed {
		words[group] = "disappeared"
	}
	if len(words) == 0 {
		s.printf("No config updates to processes")
		return nil
	}
	groups := make([]string, 0, len(words))
	for group := range words {
		groups = append(groups, group)
	}
	slices.Sort(groups)
	for _, group := range groups {
		s.printf("%s: %s", group, words[group])
	}
	return nil
}

// update makes what runs match the configuration, for all groups or for those
// named.
func update(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	changes, err := daemon.ReloadConfig(ctx)
	if faultCode(err) == rpc.ShutdownState {
		s.fail(exitGeneric, "ERROR: already shutting down")
		return nil
	}
	if err != nil {
		return err
	}
	names := strings.Fields(arg)
	if all(names) {
		names = nil
	}
	if err := s.knownGroups(ctx, daemon, names, changes.Added); err != nil {
		return err
	}
	wanted := func(groups []string) []string {
		return slices.DeleteFunc(groups, func(g string) bool {
			return len(names) > 0 && !slices.Contains(names, g)
		})
	}
	for _, group := range wanted(changes.Removed) {
		results, err := daemon.StopProcessGroup(ctx, group)
		if err != nil {
			return err
		}
		s.printf("%s: stopped", group)
		if slices.ContainsFunc(results, func(r rpc.Result) bool { return r.Status == rpc.Failed }) {
			s.fail(exitGeneric, "%s: has problems; not removing", group)
			continue
		}
		if err := daemon.RemoveProcessGroup(ctx, group); err != nil {
			return err
		}
		s.printf("%s: removed process group", group)
	}
	for _, group := range wanted(changes.Changed) {
		if _, err := daemon.StopProcessGroup(ctx, group); err != nil {
			return err
		}
		s.printf("%s: stopped", group)
		if err := daemon.RemoveProcessGroup(ctx, group); err != nil {
			return err
		}
		if err := daemon.AddProcessGroup(ctx, group); err != nil {
			return err
		}
		s.printf("%s: updated process group", group)
	}
	for _, group := range wanted(changes.Added) {
		if err := daemon.AddProcessGroup(ctx, group); err != nil {
			return err
		}
		s.printf("%s: added process group", group)
	}
	return nil
}

// knownGroups complains of names that are no group, neither an active one nor
// one of added.
func (s *session) knownGroups(ctx context.Context, daemon *client.Client, names, added []string) error {
	if len(names) == 0 {
		return nil
	}
	known := make(map[string]bool)
	infos, err := daemon.AllProcessInfo(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		known[info.Group] = true
	}
	for _, group := range added {
		known[group] = true
	}
	for _, name := range names {
		if !known[name] {
			s.fail(exitGeneric, "ERROR: no such group: %s", name)
			known[name] = true // say it once
		}
	}
	return nil
}

// add activates groups of the configuration last read.
func add(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	for _, group := range strings.Fields(arg) {
		err := daemon.AddProcessGroup(ctx, group)
		switch faultCode(err) {
		case rpc.ShutdownState:
			s.fail(exitGeneric, "ERROR: shutting down")
		case rpc.AlreadyAdded:
			s.printf("ERROR: process group already active")
		case rpc.BadName:
			s.fail(exitGeneric, "ERROR: no such process/group: %s", group)
		default:
			if err != nil {
				return err
			}
			s.printf("%s: added process group", group)
		}
	}
	return nil
}

// remove takes stopped groups out of the active configuration.
func remove(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	for _, group := range strings.Fields(arg) {
		err := daemon.RemoveProcessGroup(ctx, group)
		switch faultCode(err) {
		case rpc.StillRunning:
			s.fail(exitGeneric, "ERROR: process/group still running: %s", group)
		case rpc.BadName:
			s.fail(exitGeneric, "ERROR: no such process/group: %s", group)
		default:
			if err != nil {
				return err
			}
			s.printf("%s: removed process group", group)
		}
	}
	return nil
}
