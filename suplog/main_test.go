package main

import (
	"os"
	"testing"

	"sup/lib/suptest"
)

// asSuplog in the environment makes the test binary behave as suplog.
const asSuplog = "SUPLOG_TEST_AS_SUPLOG"

// asLimit makes it what suplog is measured against.
const asLimit = "SUPLOG_TEST_LIMIT"

func TestMain(m *testing.M) {
	if os.Getenv(asLimit) != "" {
		limit(os.Args[1])
	}
	if os.Getenv(asSuplog) != "" {
		main()
	}
	suptest.Main(m)
}

func TestScripts(t *testing.T) {
	suptest.RunScripts(t, "testdata/script", "suplog")
}
