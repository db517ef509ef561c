package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// asSuplog in the environment makes the test binary behave as suplog.
const asSuplog = "SUPLOG_TEST_AS_SUPLOG"

func TestMain(m *testing.M) {
	if os.Getenv(asSuplog) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"suplog": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
