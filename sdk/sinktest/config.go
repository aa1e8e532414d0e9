package sinktest

import (
	"testing"

	"github.com/rtflow/pipelined/internal/table"
)

// Config returns the configuration that is a JSON object, for a sink under test. Mistakes that the sink records are its
// Problems.
func Config(tb testing.TB, text string) *table.Table {
	tb.Helper()
	cfg, err := table.Parse("test", text)
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}
