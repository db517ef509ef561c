package main

import (
	"testing"

	"sup/lib/suptest"
)

// Scripts say what a user types and what comes back; see suptest.RunScripts.
func TestScript(t *testing.T) {
	suptest.RunScripts(t, "testdata/script", "supctl")
}
