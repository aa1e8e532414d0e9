package sinktest

import (
	"testing"

	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
)

// Table is the configuration of a sink under test.
type Table struct {
	sdk.Config
	table *table.Table
}

// Err returns nil if no mistake was recorded (there may be warnings), otherwise all of them.
func (t *Table) Err() error { return t.table.Err() }

// Config returns the configuration that the JSON object text holds, for a sink under test.
func Config(tb testing.TB, text string) *Table {
	tb.Helper()
	cfg, err := table.Parse("test", text)
	if err != nil {
		tb.Fatal(err)
	}
	return &Table{Config: cfg, table: cfg}
}
