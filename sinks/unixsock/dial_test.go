package unixsock_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// TestDialErrors checks that the reason is told in words that help.
func TestDialErrors(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	datagram := filepath.Join(dir, "datagram")
	d, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: datagram, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "nothing"): "there is no receiver: " + filepath.Join(dir, "nothing") + " does not exist",
		stale:                         "there is no receiver: nobody listens on " + stale,
		datagram:                      datagram + " is a socket of another type than stream",
	} {
		s := sinktest.NewStream(t)
		err := s.Run(t.Context(), unixsock.New(unixsock.Config{Connector: unixsock.Dialer(path, unixsock.Peers{})}))
		if err == nil || err.Error() != "unixsock: "+want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestDialThroughLink checks which symbolic links are followed: those of this user and root, and nobody else's.
func TestDialThroughLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "receiver")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	link := func(in, name string, owner int) string {
		at := filepath.Join(in, name)
		if err := errors.Join(os.Symlink(path, at), os.Lchown(at, owner, -1)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	connect := func(path string) error {
		conn, err := unixsock.Dialer(path, unixsock.Peers{}).Connect(t.Context(), nil)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	for _, path := range []string{path, link(dir, "ours", -1), link(shared, "ours", -1)} {
		if err := connect(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can make a link that belongs to somebody else")
	}
	const stranger = 12345
	for _, path := range []string{link(dir, "theirs", stranger), link(shared, "theirs", stranger)} {
		err := connect(path)
		var unsafe *safefile.UnsafeError
		if !errors.As(err, &unsafe) || !strings.Contains(err.Error(), "unixsock: not connecting to "+path+": "+path+" is a symbolic link that belongs to") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
