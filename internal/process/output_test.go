package process

import (
	"io"
	"strings"
	"testing"
)

// TestOutput checks how a stream becomes lines.
func TestOutput(t *testing.T) {
	o := NewOutput(func(line string, _ uint64) { t.Log(line) })
	w, other := o.Writer(), o.Writer()
	for _, part := range []string{"one\ntw", "o\n\n  \n", strings.Repeat("x", 5000), "yy\nthree\x1b[2J\n"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
		_, _ = io.WriteString(other, "half ")
	}
	want := []string{"one", "two", strings.Repeat("x", maxLine) + "…", `three\u001b[2J`}
	if got := o.Last(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}

// TestFlood runs a process that prints without end: all lines are read and counted, and few of them are shown.
func TestFlood(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p, err := s.Process(spec("prints"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var shown, leftOut uint64
	o := NewOutput(func(_ string, n uint64) { shown, leftOut = shown+1, leftOut+n })
	read := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, p.Stdout()); close(read) }()
	if err := p.CloseInput(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(o.Writer(), p.Stderr()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	<-read
	total, left := o.Counts()
	if total != 20_000 || shown+left != total || leftOut > left || shown < lineBurst || shown > 1000 {
		t.Errorf("%d lines, %d shown, %d left out, %d of them told", total, shown, left, leftOut)
	}
	if last := o.Last(); len(last) != keptLines || last[keptLines-1] != "line 19999" {
		t.Errorf("last lines %q", last)
	}
}

// TestPay checks that reading costs what was read, and that nothing waits after Free.
func TestPay(t *testing.T) {
	o := NewOutput(func(string, uint64) {})
	o.bytes.SetLimit(0) // nothing is added while the test runs
	before := o.bytes.Tokens()
	o.Pay(1000)
	if paid := before - o.bytes.Tokens(); paid != 1000 {
		t.Errorf("paid %.0f", paid)
	}
	o.Free()
	o.Pay(1 << 40) // for days
	if n, err := o.PaidWriter().Write([]byte("line\n")); n != 5 || err != nil || o.Last()[0] != "line" {
		t.Errorf("%d, %v, %q", n, err, o.Last())
	}
}
