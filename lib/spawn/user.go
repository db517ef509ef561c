package spawn

import (
	"os/user"
	"slices"
	"strconv"
)

// GroupsOf are the groups of a user, its own first.
func GroupsOf(uid, gid int) []int {
	groups := []int{gid}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return groups
	}
	ids, err := u.GroupIds()
	if err != nil {
		return groups
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && !slices.Contains(groups, n) {
			groups = append(groups, n)
		}
	}
	return groups
}
