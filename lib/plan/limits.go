package plan

import (
	"fmt"

	"sup/lib/config"
	"sup/lib/value"
)

// Limits bound what the clients of a server can make it spend. Zero is the
// server's default.
type Limits struct {
	// Connections is how many there may be at a time; Followers how many of
	// them may follow a log.
	Connections, Followers int
	// Body is the size of a request, in bytes, and Values how many values it
	// may hold, those inside of arrays and structs included.
	Body   int64
	Values int
	// Seconds is how long a request may take to arrive.
	Seconds int
}

// limits reads the keys of Limits.
func limits(v *config.Values) Limits {
	count := func(name string, least, most int64) int64 {
		t := v.Text(name)
		if !t.Set {
			return 0
		}
		n, err := value.ParseInt(t.Text)
		return within(v, name, t, n, least, most, err)
	}
	size := func(name string, least, most int64) int64 {
		t := v.Text(name)
		if !t.Set {
			return 0
		}
		n, err := value.ParseBytes(t.Text)
		return within(v, name, t, n, least, most, err)
	}
	return Limits{
		Connections: int(count("max_connections", 8, 1<<20)),
		Followers:   int(count("max_followers", 1, 1<<20)),
		Body:        size("max_body", 64<<10, 1<<30),
		Values:      int(count("max_values", 1000, 100_000_000)),
		Seconds:     int(count("request_timeout", 1, 86400)),
	}
}

// within is n, or 0 if it cannot be used, which is reported.
func within(v *config.Values, name string, t config.Text, n, least, most int64, err error) int64 {
	switch {
	case err != nil:
		v.BadValue(name, t, err)
	case n < least || n > most:
		v.Fail("bad-"+name, name, t, fmt.Sprintf("%s must be from %d to %d", name, least, most), "leave it out for the default")
	default:
		return n
	}
	return 0
}
