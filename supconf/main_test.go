package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sup/lib/cli"
	"sup/lib/suptest"
)

func TestMain(m *testing.M) {
	tool := func() { os.Exit(run(cli.Standard(), os.Args)) }
	testscript.Main(suptest.Cleaning{M: m}, map[string]func(){
		"supconf":               tool,
		"echo_supervisord_conf": tool,
		measureName:             measure,
	})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GREETING", "hello")
			return nil
		},
		RequireExplicitExec: true,
	})
}
