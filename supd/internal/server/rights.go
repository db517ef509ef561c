package server

import (
	"context"
	"fmt"
	"strings"

	"sup/lib/access"
	"sup/lib/rpc"
)

// right is what a method needs: the column of the tables of methods that says
// who may call it. Whatever is not said to need less is for administrators.
type right uint8

const (
	adminOnly right = iota
	// reading is for everybody who has a role.
	reading
	// The others are for operators of the process that the first parameter
	// names, or of all of a group if it names that as GROUP:*; of all of the
	// group that it names; and of all processes.
	operatingProcess
	operatingGroup
	operatingAll
)

// role is the least one that has the right, perhaps for some processes only.
func (r right) role() access.Role {
	switch r {
	case reading:
		return access.Read
	case operatingProcess, operatingGroup, operatingAll:
		return access.Operate
	}
	return access.Admin
}

// forbidden is the fault of a client who may not do something. Its code is one
// that every client of Supervisor knows how to show.
func forbidden(client *access.Client, what, why string) error {
	who := "a client without a name"
	role := access.None
	if client != nil {
		role = client.Role
		switch {
		case client.User != "":
			who = client.User
		case client.Unix():
			who = fmt.Sprintf("uid %d", client.UID)
		case client.Addr.IsValid():
			who = client.Addr.Addr().String()
		}
	}
	return rpc.NewFault(rpc.Failed, fmt.Sprintf("%s (role %s) may not %s; %s", who, role, what, why))
}

// permit tells whether a client has a right; target is the process or group
// that it is about, verb and target say in a fault what was to be done. What is
// about several processes is refused as a whole if one of them is not the
// client's to operate: a part of it could be taken for the whole.
func (s *Server) permit(ctx context.Context, client *access.Client, needs right, verb, target string) error {
	refuse := func(why string) error {
		const most = 200 // of a name that may be anything
		return forbidden(client, strings.TrimRight(verb+" "+target[:min(len(target), most)], " "), why)
	}
	if client == nil || client.Role < needs.role() {
		return refuse("it needs " + needs.role().String())
	}
	if needs.role() != access.Operate || client.Role != access.Operate || client.Names == nil {
		return nil
	}
	limits := make([]string, len(client.Names))
	for i, p := range client.Names {
		limits[i] = p.String()
	}
	only := "the role is for " + strings.Join(limits, ", ") + " only"
	group, process, whole := splitName(target)
	if needs == operatingProcess && !whole {
		if !client.MayOperate(group, process) {
			return refuse(only)
		}
		return nil
	}
	if needs == operatingGroup {
		group = target
	}
	infos, err := s.backend.AllProcessInfo(ctx)
	if err != nil {
		return err
	}
	found := false
	for i := range infos {
		p := &infos[i]
		if needs != operatingAll && p.Group != group {
			continue
		}
		found = true
		if !client.MayOperate(p.Group, p.Name) {
			return refuse("that acts on " + joinName(p.Group, p.Name) + ", and " + only)
		}
	}
	if !found && needs != operatingAll && !client.MayOperate(group, "") {
		// A group that is not there is no different from one of others.
		return refuse(only)
	}
	return nil
}

// right is what an action of the page needs.
func (a action) right() (needs right, target string) {
	switch {
	case !a.changes():
		return reading, ""
	case a.group != "":
		return operatingGroup, a.group
	case a.name == "stopall", a.name == "restartall":
		return operatingAll, ""
	}
	return operatingProcess, a.process
}
