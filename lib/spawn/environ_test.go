package spawn

import (
	"slices"
	"testing"
)

func TestInherited(t *testing.T) {
	base := []string{"PATH=/bin", "NOTIFY_SOCKET=/run/s", "LISTEN_FDS=2", "LISTEN_FDS_MORE=1", "SUPERVISOR_PASSWORD=x", "EMPTY", "A=b=c"}
	was := slices.Clone(base)
	if got, want := Inherited(base), []string{"PATH=/bin", "LISTEN_FDS_MORE=1", "EMPTY", "A=b=c"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !slices.Equal(base, was) {
		t.Errorf("the base was changed to %q", base)
	}
}
