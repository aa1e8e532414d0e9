package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/xsk"
)

func TestWriteAttachments(t *testing.T) {
	var out bytes.Buffer
	unknown := errors.New("not understood")
	err := writeAttachments(&out, []*xsk.Attachment{
		{Interface: "lan0", Peer: "wan0", Read: true, OnFailure: xsk.FailOpen, Unread: xsk.Unread{PastNoSocket: 2, PastStalled: 3, PastByHand: 5, PastSent: 9, PastNotSent: 1}},
		{Interface: "x0", Err: unknown},
		{Bypass: true, Unread: xsk.Unread{Dropped: 5}},
	})
	if !errors.Is(err, unknown) {
		t.Errorf("error %v", err)
	}
	const want = `INTERFACE PEER DAEMON ON FAILURE BYPASS WENT PAST DROPPED UNREAD
lan0 wan0 reads open off 9 1
gone gone none closed on 0 5
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s, want\n%s", got.String(), want)
	}
	out.Reset()
	if err := writeAttachments(&out, nil); err != nil || out.String() != "no program of a bridge is pinned\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
