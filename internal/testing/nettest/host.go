package nettest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace. Its methods are for the goroutine of the test that made it, unless they say otherwise.
type Host struct {
	t  testing.TB
	ns netns.NsHandle
}

// NewHost makes a network namespace whose loopback interface is up. It is removed at the end of the test.
func NewHost(t testing.TB) *Host {
	t.Helper()
	ns, err := newNamespace()
	if err != nil {
		t.Fatalf("nettest: make a network namespace: %v", err)
	}
	h := &Host{t: t, ns: ns}
	t.Cleanup(func() { _ = h.ns.Close() }) // nothing can be done about a failure
	h.Do(func() {
		// A kernel without IPv6 has no such files, and is quiet anyway.
		for _, which := range []string{"all", "default"} {
			_ = os.WriteFile(filepath.Join(ipv6Settings, which, "disable_ipv6"), []byte("1"), 0)
		}
		for _, which := range []string{"all", "default"} { // inherited from the namespace that the tests run in
			_ = os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", which, "forwarding"), []byte("0"), 0)
		}
		h.must("bring up lo", up("lo"))
	})
	return h
}

const ipv6Settings = "/proc/sys/net/ipv6/conf"

// Do runs fn in the namespace, on the calling goroutine. Sockets that fn opens and processes that it starts belong to
// the namespace and stay there; a goroutine that it starts does not. fn may end the test with t.FailNow.
func (h *Host) Do(fn func()) {
	h.t.Helper()
	leave, err := enter(h.ns)
	if err != nil {
		h.t.Fatalf("nettest: enter the namespace: %v", err)
	}
	defer leave()
	fn()
}

// Run runs a command in the namespace, waits for it and returns what it wrote. The test ends if it fails.
func (h *Host) Run(name string, args ...string) string {
	h.t.Helper()
	var out []byte
	var err error
	h.Do(func() { out, err = exec.Command(name, args...).CombinedOutput() })
	if err != nil {
		h.t.Fatalf("nettest: %s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start starts a command in the namespace and does not wait. At the end of the test it is killed if it still runs.
func (h *Host) Start(cmd *exec.Cmd) {
	h.t.Helper()
	var err error
	h.Do(func() { err = cmd.Start() })
	if err != nil {
		h.t.Fatalf("nettest: start %s: %v", cmd.Path, err)
	}
	h.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()         // the test did not ask for its exit status
		}
	})
}

// Link returns an interface of the host as the kernel describes it now.
func (h *Host) Link(name string) netlink.Link {
	h.t.Helper()
	var link netlink.Link
	var err error
	h.Do(func() { link, err = netlink.LinkByName(name) })
	h.must("look up "+name, err)
	return link
}

// Address gives an interface an address such as "192.0.2.1/24". An IPv6 address turns IPv6 on for that interface,
// without duplicate address detection.
func (h *Host) Address(name, cidr string) {
	h.t.Helper()
	address, err := netlink.ParseAddr(cidr)
	h.must("parse "+cidr, err)
	h.Do(func() {
		if address.IP.To4() == nil {
			address.Flags |= unix.IFA_F_NODAD // else it is tentative, and cannot be bound to, until the interface is ready
			for _, setting := range []struct{ name, value string }{{"accept_dad", "0"}, {"disable_ipv6", "0"}} {
				err := os.WriteFile(filepath.Join(ipv6Settings, name, setting.name), []byte(setting.value), 0)
				h.must("set "+setting.name, err)
			}
		}
		link, err := netlink.LinkByName(name)
		h.must("look up "+name, err)
		h.must("add "+cidr+" to "+name, netlink.AddrAdd(link, address))
	})
}

// Route sends traffic for a prefix such as "198.51.100.0/24" to a gateway.
func (h *Host) Route(cidr, gateway string) {
	h.t.Helper()
	_, prefix, err := net.ParseCIDR(cidr)
	h.must("parse "+cidr, err)
	via := net.ParseIP(gateway)
	if via == nil {
		h.t.Fatalf("nettest: %q is not an address", gateway)
	}
	h.Do(func() { h.must("add a route", netlink.RouteAdd(&netlink.Route{Dst: prefix, Gw: via})) })
}

// SetUp brings an interface up.
func (h *Host) SetUp(name string) {
	h.t.Helper()
	h.Do(func() { h.must("bring up "+name, up(name)) })
}

// SetDown brings an interface down.
func (h *Host) SetDown(name string) {
	h.t.Helper()
	link := h.Link(name)
	h.Do(func() { h.must("bring down "+name, netlink.LinkSetDown(link)) })
}

// SetMTU changes the MTU of an interface. The test ends if the kernel refuses it.
func (h *Host) SetMTU(name string, mtu int) {
	h.t.Helper()
	link := h.Link(name)
	h.Do(func() { h.must("set the MTU of "+name, netlink.LinkSetMTU(link, mtu)) })
}

// Move gives an interface to another host.
func (h *Host) Move(name string, to *Host) {
	h.t.Helper()
	link := h.Link(name)
	h.Do(func() { h.must("move "+name, netlink.LinkSetNsFd(link, int(to.ns))) })
}

// Delete removes an interface, and with it the other end of its cable.
func (h *Host) Delete(name string) {
	h.t.Helper()
	link := h.Link(name)
	h.Do(func() { h.must("delete "+name, netlink.LinkDel(link)) })
}

// Cable joins two hosts by a veth pair with as many receive and transmit queues on each end, both ends up and ready to
// send. The interface is called aName on a and bName on b.
func Cable(a *Host, aName string, b *Host, bName string, queues int) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	attrs.NumRxQueues, attrs.NumTxQueues = queues, queues
	veth := netlink.NewVeth(attrs)
	veth.PeerName = bName
	veth.PeerNumRxQueues, veth.PeerNumTxQueues = uint32(queues), uint32(queues)
	veth.PeerNamespace = netlink.NsFd(b.ns)
	a.Do(func() { a.must("make a veth pair", netlink.LinkAdd(veth)) })
	a.SetUp(aName)
	b.SetUp(bName)
	a.awaitCarrier(aName)
	b.awaitCarrier(bName)
}

func (h *Host) must(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("nettest: %s: %v", what, err)
	}
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// stay locks the calling goroutine to its thread and remembers the thread's namespace. leave goes back there.
func stay() (leave func(), err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("current namespace: %w", err)
	}
	return func() {
		if err := netns.Set(home); err == nil {
			runtime.UnlockOSThread() // else the thread stays locked and ends with its goroutine: nobody else may get it
		}
		_ = home.Close() // read-only descriptor
	}, nil
}

// enter moves the calling goroutine, with a thread of its own, into ns. leave undoes it.
func enter(ns netns.NsHandle) (leave func(), err error) {
	leave, err = stay()
	if err != nil {
		return nil, err
	}
	if err := netns.Set(ns); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// newNamespace makes a namespace and stays in the present one.
func newNamespace() (netns.NsHandle, error) {
	leave, err := stay()
	if err != nil {
		return netns.None(), err
	}
	defer leave()
	return netns.New()
}

func tryNamespace() error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	return ns.Close()
}
