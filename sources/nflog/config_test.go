package nflog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestGroupTaken opens a group that another socket has, and then one that has become free.
func TestGroupTaken(t *testing.T) {
	nettest.Require(t)
	h := nettest.NewHost(t)
	c := config(t, `{"groups": [4, 5]}`)
	h.Do(func() {
		first, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Groups = []uint16{6, 5}
		_, err = Open(c)
		if !errors.Is(err, ErrGroupTaken) || !strings.Contains(err.Error(), fmt.Sprintf("NFLOG group 5: another process reads the group (nflog.test, process %d)", os.Getpid())) ||
			!strings.HasSuffix(err.Error(), "): stop it, or choose another group") {
			t.Errorf("opened with %v", err)
		}
		// Another user, who has the capability, cannot read who has the group.
		become := func(id int) {
			_, err := unix.SetfsgidRetGid(id)
			_, more := unix.SetfsuidRetUid(id)
			if err := errors.Join(err, more); err != nil {
				t.Fatal(err)
			}
		}
		become(65534)
		_, err = Open(c)
		become(0)
		if !errors.Is(err, ErrGroupTaken) || !strings.Contains(err.Error(), "(often ulogd2)") {
			t.Errorf("opened by another user with %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNoCapability opens a group without CAP_NET_ADMIN.
func TestNoCapability(t *testing.T) {
	nettest.Require(t)
	nettest.NewHost(t).Do(func() { // whose thread is this goroutine's
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var before [2]unix.CapUserData
		if err := unix.Capget(&header, &before[0]); err != nil {
			t.Fatal(err)
		}
		less := before
		less[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &less[0]); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Capset(&header, &before[0]); err != nil {
				t.Fatal(err)
			}
		}()
		_, err := Open(config(t, `{"groups": [5]}`))
		if !errors.Is(err, nfnetlink.ErrPermission) || errors.Is(err, ErrGroupTaken) {
			t.Errorf("opened with %v", err)
		}
	})
}

// TestRefusals says what the kernel's other answers mean.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ answer, want error }{
		{unix.EINVAL, ErrNoNFLOG}, {unix.EBUSY, ErrGroupTaken}, {unix.ENOMEM, unix.ENOMEM}, {nfnetlink.ErrNoAnswer, nfnetlink.ErrNoAnswer},
	} {
		if err := refusal(5, c.answer); !errors.Is(err, c.want) {
			t.Errorf("%v is %v, want %v", c.answer, err, c.want)
		}
	}
}
