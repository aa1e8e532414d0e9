package prefetch

import (
	"testing"
	"unsafe"
)

// TestAnywhere asks for memory that is there, and for some that is not.
func TestAnywhere(t *testing.T) {
	lines := new([256]byte)
	for i := range lines {
		Line(unsafe.Pointer(&lines[i]))
		Pair(unsafe.Pointer(&lines[i]))
	}
	Line(nil)
	Pair(nil)
	for n := range 4 {
		Elements(lines[:], []uint32{255, 0, 1 << 31}[:n])
	}
	Elements([][200]byte{{}, {}}, []uint32{0, 1})
	Elements([]byte(nil), []uint32{0})
	if *lines != [256]byte{} {
		t.Error("memory has changed")
	}
}
