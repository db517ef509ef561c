package daemon

import (
	"testing"

	"sup/lib/config"
	"sup/lib/event"
	"sup/lib/logwire"
	"sup/lib/plan"
)

// What a plan lets pass must be known to those who carry it out.
func TestNamesOfThePlan(t *testing.T) {
	for _, name := range []string{config.DefaultResultHandler, config.StdoutResultHandler} {
		if _, err := event.HandlerByName(plan.PluginName(" " + name + " [extra]")); err != nil {
			t.Error(err)
		}
	}
	for from, to := range map[plan.Rotate]logwire.Rotate{
		plan.RotateBySize: logwire.RotateBySize, plan.RotateDaily: logwire.RotateDaily, plan.RotateHourly: logwire.RotateHourly,
	} {
		if got, known := rotations[from]; !known || got != to {
			t.Errorf("rotation %v is %v", from, got)
		}
	}
}
