package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestClose pins that a collector that does not answer the farewell costs close_timeout, and no record.
func TestClose(t *testing.T) {
	deaf := func(c net.Conn) {
		in := newRELPReader(c)
		for {
			f, err := in.next()
			if err != nil {
				return
			}
			answer := "200 OK"
			switch f.command {
			case relpOpen:
				answer += "\ncommands=syslog"
			case relpClose:
				silent(c)
				return
			}
			if _, err := c.Write(appendRELP(nil, f.txnr, relpResponse, []byte(answer))); err != nil {
				return
			}
		}
	}
	section, problems := config.ParseTable("test.toml", []byte(fmt.Sprintf("address = \"relp://%s\"\nclose_timeout = \"200ms\"", listenFunc(t, deaf))))
	var warned []string
	env := sdk.Env{Hostname: "fw1", Warn: func(msg string, args ...any) { warned = append(warned, fmt.Sprint(msg, args)) }}
	sink := Plugin().Configure(section, env)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	drained(t, sink, numbered(10)...)
	if len(warned) != 1 || !strings.Contains(warned[0], "did not end in order") || !strings.Contains(warned[0], "within 200ms") {
		t.Errorf("warned %q", warned)
	}
}

// TestStuck pins that a peer that takes nothing ends the run after write_timeout, and that the end of a run ends a write that
// hangs. What the peer has taken is acknowledged while the write hangs.
func TestStuck(t *testing.T) {
	ca := testcert.NewAuthority(t)
	config := ca.Server(t, "127.0.0.1")
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			hold := make(chan struct{})
			defer close(hold)
			where := listenFunc(t, func(c net.Conn) {
				_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
				if scheme == "tls" {
					_ = tls.Server(c, config).Handshake()
				}
				<-hold
			})
			open := func(more string) *Sink {
				return newTestSink(t, more+fmt.Sprintf("\ntls = { ca = %q }", ca.File), scheme+"://"+where)
			}
			records := numbered(2000)
			s := sinktest.NewStream(t)
			s.Append(records...)
			s.Repeat(1 << 30)
			err := s.Run(t.Context(), open("write_timeout = \"300ms\""))
			if err == nil || !strings.Contains(err.Error(), "has taken nothing for 300ms") {
				t.Errorf("%v", err)
			}

			s = sinktest.NewStream(t)
			s.Append(records...)
			s.Repeat(1 << 30)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Run(ctx, open("")) }()
			waitAcked(t, s, 1)
			cancel()
			if err := soon(t, done); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTalkingPeer pins that what a collector of plain syslog says is ignored, however much it is.
func TestTalkingPeer(t *testing.T) {
	where := listenFunc(t, func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range 1000 {
			if _, err := c.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
		silent(c)
	})
	drained(t, newTestSink(t, "", "tcp://"+where), numbered(3000)...)
}
