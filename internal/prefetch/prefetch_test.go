package prefetch

import (
	"testing"
	"unsafe"
)

// TestAnywhere asks for memory that is there, and for none.
func TestAnywhere(t *testing.T) {
	lines := new([256]byte)
	for i := range lines {
		Line(unsafe.Pointer(&lines[i]))
		Pair(unsafe.Pointer(&lines[i]))
	}
	Line(nil)
	Pair(nil)
	if *lines != [256]byte{} {
		t.Error("memory has changed")
	}
}
