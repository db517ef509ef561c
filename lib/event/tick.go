package event

import (
	"strconv"
	"time"
)

// periods are those of the TICK events, in the order in which they are sent
// when several are due.
var periods = [...]struct {
	leaf   Type
	length time.Duration
}{
	{Tick5, 5 * time.Second},
	{Tick60, time.Minute},
	{Tick3600, time.Hour},
}

// Clock tells when TICK events are due: when the wall clock passes a multiple
// of the period. If the wall clock is set, no tick is lost or doubled for it;
// one interval may then be up to half a period shorter or longer, until the
// ticks are in step with the clock again.
//
// Times must have a monotonic reading, as those of time.Now have, for this to
// work.
type Clock struct {
	due [len(periods)]time.Time
}

// NewClock is a Clock that starts now. Its first ticks are those of the next
// multiples.
func NewClock(now time.Time) *Clock {
	c := new(Clock)
	for i, p := range periods {
		c.due[i] = now.Add(p.length - sinceMultiple(now, p.length))
	}
	return c
}

// Next is when Due has something to tell next.
func (c *Clock) Next() time.Time {
	next := c.due[0]
	for _, t := range c.due[1:] {
		if t.Before(next) {
			next = t
		}
	}
	return next
}

// Due are the events that are due now. If several ticks of a period were
// missed, only one is sent.
func (c *Clock) Due(now time.Time) []Event {
	var events []Event
	for i, p := range periods {
		if now.Before(c.due[i]) {
			continue
		}
		// The multiple that was due, were the loop never late: the one nearest to
		// the wall clock of that moment. It is off by more than the lateness only
		// if the clock was set.
		late := now.Sub(c.due[i])
		when := now.Add(-late%p.length + p.length/2)
		when = when.Add(-sinceMultiple(when, p.length))
		c.due[i] = when.Add(p.length)
		events = append(events, Event{p.leaf, "when:" + strconv.FormatInt(when.Unix(), 10)})
	}
	return events
}

// sinceMultiple is how long ago the wall clock was a multiple of the period.
func sinceMultiple(now time.Time, period time.Duration) time.Duration {
	seconds := int64(period / time.Second)
	return time.Duration(((now.Unix()%seconds)+seconds)%seconds)*time.Second + time.Duration(now.Nanosecond())
}
