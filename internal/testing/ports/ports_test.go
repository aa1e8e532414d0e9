package ports_test

import (
	"errors"
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/ports"
)

// TestReserve pins what a test may rely on: nobody is there until the test listens, what it listens with gets everything, and
// the port is its own again afterwards.
func TestReserve(t *testing.T) {
	address := net.JoinHostPort("127.0.0.1", ports.Reserve(t))
	refused := func() {
		t.Helper()
		for _, network := range []string{"tcp", "udp"} {
			c, err := net.Dial(network, address)
			if network == "udp" {
				if err != nil {
					t.Fatal(err)
				}
				_, _ = c.Write([]byte("x"))
				_, err = c.Read(make([]byte, 1))
				_ = c.Close()
			}
			if !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s: %v", network, err)
			}
		}
	}
	for range 3 {
		refused()
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ports.ListenPacket(address)
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"tcp", "udp"} {
			c, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte(network)); err != nil {
				t.Error(err)
			}
			_ = c.Close()
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "tcp" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if n, _, err := p.ReadFrom(buf); err != nil || string(buf[:n]) != "udp" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		_ = errors.Join(c.Close(), l.Close(), p.Close())
	}
	refused()
	port, err := strconv.Atoi(ports.Reserve(t))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
		_ = l.Close()
		t.Error("the port was given to somebody who does not share it")
	}
}
