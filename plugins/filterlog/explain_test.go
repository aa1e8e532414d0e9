package filterlog

import (
	"testing"

	"github.com/rtflow/pipelined/core/hook"
)

// TestExplainPath: the terms that explain names are those by which judge has decided, in the shape of the whole path.
func TestExplainPath(t *testing.T) {
	f := newFilter(options{Terms: []termOptions{
		{Name: "a", From: from{TCPInitial: true}, Then: []action{{kind: nextTerm}, {log: true}}},
		{Name: "b", From: from{IsFragment: true}, Then: []action{{kind: accept}}},
		{Name: "c", Then: []action{{kind: reject}}},
	}}, 1, 1)
	in := &input{filter: f, everywhere: true}
	p := hook.Packet{}
	p.Family, p.Proto, p.TCPFlags, p.HasHead, p.HasL4 = 2, 6, 2, true, true
	var found hook.Finding
	v := in.Inspect(&p, &found)
	x := in.Explain(&p, v, &found)
	if v != hook.Prohibit || len(x.Matched) != 2 || x.Matched[0].Name != "a" || x.Matched[1].Name != "c" ||
		x.Matched[1].Key != "term[2]" || x.Matched[0].Then != "next term, log" || x.Matched[1].Then != "reject" {
		t.Errorf("verdict %v, %+v", v, x)
	}
	in.everywhere, in.interfaces = false, []uint32{9}
	if x := in.Explain(&p, hook.Pass, &found); len(x.Matched) != 0 {
		t.Errorf("not attached: %+v", x)
	}
}
