package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"sup/lib/plan"
	"sup/lib/rpc"
)

// Bounds of the groups that a client has compared. What lies between them is
// read one process after the other, so that they are all that it costs.
const (
	// maxCompared is how many groups and processes there may be together.
	maxCompared = 100_000
	// maxComparedPart is the most bytes of one process, or of one field of a
	// group. The environment of a process is a few kilobytes.
	maxComparedPart = 256 << 10
	// maxComparedFields is the most fields of a group.
	maxComparedFields = 64
)

// CompareGroups tells how groups of a plan, as JSON, differ from the active
// ones.
func (d *Daemon) CompareGroups(ctx context.Context, groups string) (added, changed, removed []string, err error) {
	var active *plan.Plan
	var fault error
	err = d.ask(ctx, func() {
		if fault = d.shuttingDown(); fault == nil {
			active = d.activePlan()
		}
	})
	if err := cmp.Or(err, fault); err != nil {
		return nil, nil, nil, err
	}
	c := newComparison(active)
	if err := c.read(ctx, strings.NewReader(groups)); err != nil {
		if ctx.Err() != nil {
			return nil, nil, nil, ctx.Err()
		}
		return nil, nil, nil, rpc.NewFault(rpc.IncorrectParameters, err.Error())
	}
	return c.added, c.changed, c.removed(), nil
}

// comparison compares the groups of a plan that come one process at a time with
// those that are active, as plan.Diff does with whole plans.
type comparison struct {
	active map[string]*plan.Group
	order  []string        // of the active groups
	seen   map[string]bool // names that came
	count  int             // of groups and processes

	added, changed []string
}

func newComparison(active *plan.Plan) *comparison {
	c := &comparison{active: map[string]*plan.Group{}, seen: map[string]bool{}}
	for i := range active.Groups {
		g := &active.Groups[i]
		if c.active[g.Name] == nil {
			c.active[g.Name] = g
			c.order = append(c.order, g.Name)
		}
	}
	return c
}

func (c *comparison) removed() (names []string) {
	for _, name := range c.order {
		if !c.seen[name] {
			names = append(names, name)
		}
	}
	return names
}

// read takes the JSON of a []plan.Group.
func (c *comparison) read(ctx context.Context, text io.Reader) error {
	dec := json.NewDecoder(text)
	err := elements(dec, func() error { return c.group(ctx, dec) })
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("there is something behind the groups")
		}
	}
	return err
}

// elements calls each with every element of the array that comes next; null is
// an empty one.
func elements(dec *json.Decoder, each func() error) error {
	t, err := dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return errors.New("groups and their processes are arrays")
	}
	for dec.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// group takes one group.
func (c *comparison) group(ctx context.Context, dec *json.Decoder) error {
	if err := c.spend(ctx); err != nil {
		return err
	}
	if t, err := dec.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("a group is an object")
	}
	fields := map[string]json.RawMessage{}
	var g *plan.Group // once the processes come
	var old *plan.Group
	same, n := true, 0
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if key != "Processes" {
			raw, err := part(dec)
			if err != nil {
				return err
			}
			if len(fields) >= maxComparedFields {
				return fmt.Errorf("a group has more than %d fields", maxComparedFields)
			}
			fields[key] = raw
			continue
		}
		if g != nil {
			return errors.New("a group has its processes twice")
		}
		if g, err = header(fields); err != nil {
			return err
		}
		if !c.seen[g.Name] {
			old = c.active[g.Name]
		}
		if err := elements(dec, func() error {
			if err := c.spend(ctx); err != nil {
				return err
			}
			raw, err := part(dec)
			if err != nil {
				return err
			}
			var p plan.Process
			if err := json.Unmarshal(raw, &p); err != nil {
				return err
			}
			same = same && old != nil && n < len(old.Processes) && plan.SameProcess(&old.Processes[n], &p)
			n++
			return nil
		}); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	whole, err := header(fields)
	if err != nil {
		return err
	}
	switch {
	case g != nil && g.Name != whole.Name:
		return errors.New("the name of a group comes before its processes")
	case whole.Kind == plan.KindFCGI && whole.Socket == nil:
		return errors.New("a FastCGI group without a socket")
	case c.seen[whole.Name]:
		return nil // of several the first counts
	}
	c.seen[whole.Name] = true
	old = c.active[whole.Name]
	if old == nil {
		c.added = append(c.added, whole.Name)
		return nil
	}
	bare := *old
	bare.Processes = nil
	if !same || n != len(old.Processes) || !plan.SameGroup(&bare, whole) {
		c.changed = append(c.changed, whole.Name)
	}
	return nil
}

// header makes a group without processes of its fields.
func header(fields map[string]json.RawMessage) (*plan.Group, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	g := new(plan.Group)
	if err := json.Unmarshal(text, g); err != nil {
		return nil, err
	}
	g.Processes = nil
	return g, nil
}

// part reads one value that must not be large.
func part(dec *json.Decoder) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if len(raw) > maxComparedPart {
		return nil, fmt.Errorf("a process, or a field of a group, has more than %d bytes", maxComparedPart)
	}
	return raw, nil
}

// spend counts a group or a process.
func (c *comparison) spend(ctx context.Context) error {
	if c.count++; c.count > maxCompared {
		return fmt.Errorf("there are more than %d groups and processes", maxCompared)
	}
	return ctx.Err()
}
