package nats_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// childNode is the environment variable that makes the test binary a server of a cluster. Only a process of its own can be
// killed.
const childNode = "PIPELINED_TEST_NATS_NODE"

// node is one server of a cluster.
type node struct {
	Name   string
	Client string // host:port
	Route  string
	Routes []string
	Dir    string

	cmd *exec.Cmd
}

// runNode is the child: it serves until its standard input ends.
func runNode(text string) {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	o := &server.Options{ServerName: n.Name, JetStream: true, StoreDir: n.Dir, NoLog: true, NoSigs: true}
	o.Host, o.Port = split(n.Client)
	o.Cluster.Name = "test"
	o.Cluster.Host, o.Cluster.Port = split(n.Route)
	for _, r := range n.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
	}
	s, err := server.NewServer(o)
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		panic("not ready")
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func split(address string) (host string, port int) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return a.IP.String(), a.Port
}

// startCluster starts three servers and waits until they make streams.
func startCluster(t *testing.T) []*node {
	t.Helper()
	nodes := make([]*node, 3)
	var routes []string
	for i := range nodes {
		client, route := reserve(t), reserve(t)
		nodes[i] = &node{Name: fmt.Sprintf("n%d", i), Dir: t.TempDir(), Client: client, Route: route}
		routes = append(routes, route)
	}
	for _, n := range nodes {
		n.Routes = routes
		n.start(t)
	}
	return nodes
}

func reserve(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", ports.Reserve(t))
}

func (n *node) start(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), childNode+"="+string(text))
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("%s: %q, %v", n.Name, line, err)
	}
}

// TestClusterNodeKilled kills the server that leads the stream, a process, in the middle of the load of two sinks: one
// publishes events, one batches. The two servers that are left have every record of both, once.
func TestClusterNodeKilled(t *testing.T) {
	nodes := startCluster(t)
	var servers []string
	for _, n := range nodes {
		servers = append(servers, "nats://"+n.Client)
	}
	js := dial(t, strings.Join(servers, ","), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	createReplicated(t, ctx, js, "EVENTS")
	loads := []*traffic{
		{subject: "single", options: "max_in_flight = 500", chunk: 3000},
		{subject: "batch", options: "max_in_flight = 20\nbatch = 50", chunk: 30000},
	}
	killed := make(chan struct{})
	var all sync.WaitGroup
	for _, l := range loads {
		l.sink = newSink(t, "servers = [\"%s\"]\nsubject = \"EVENTS.%s.{kind}.{zone}\"\nformat = \"frames\"\nack_timeout = \"2s\"\n"+
			"%s\nstream = { name = \"EVENTS\" }", strings.Join(servers, `", "`), l.subject, l.options)
		l.run = sinktest.NewStream(t)
		all.Go(func() { l.feed(ctx, killed) })
		all.Go(func() { l.failures = sinkcheck.KeepRunning(ctx, t, l.run, l.sink) })
	}
	leader := leaderOf(t, ctx, js, "EVENTS", nodes)
	for _, l := range loads {
		if err := l.run.WaitAcked(ctx, event.Seq(2*l.chunk)); err != nil {
			t.Fatal(err)
		}
	}
	if err := leader.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	close(killed)
	all.Wait()
	messages := contents(t, js, "EVENTS")
	for _, l := range loads {
		if l.run.Acked() != event.Seq(l.n) || l.failures == 0 {
			t.Errorf("%s: acknowledged up to %d of %d after %d failures", l.subject, l.run.Acked(), l.n, l.failures)
		}
		t.Logf("%s: %d failures, %d duplicates dropped", l.subject, l.failures, sinkcheck.Counter(t, l.sink, "duplicates"))
		wantAll(t, slices.DeleteFunc(slices.Clone(messages), func(m stored) bool {
			return !strings.HasPrefix(m.subject, "EVENTS."+l.subject+".")
		}), l.n)
	}
}

// traffic is a sink under load.
type traffic struct {
	subject, options string
	chunk            int
	n                int // records in all
	run              *sinktest.Stream
	sink             sdk.Sink
	failures         int
}

// feed appends a chunk whenever half of the last one is acknowledged, so that there is always something on its way; after the
// kill one more.
func (l *traffic) feed(ctx context.Context, killed <-chan struct{}) {
	defer l.run.Drain()
	records := numbered(l.chunk)
	for last := false; ; {
		l.run.Append(records...)
		l.n += l.chunk
		if last || l.run.WaitAcked(ctx, event.Seq(l.n-l.chunk/2)) != nil {
			return
		}
		select {
		case <-killed:
			last = true
		default:
		}
	}
}

// createReplicated creates a stream with a replica on each server, as soon as the cluster can.
func createReplicated(t *testing.T, ctx context.Context, js jetstream.JetStream, name string) {
	t.Helper()
	untilAble(t, ctx, func(ctx context.Context) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Replicas: 3})
		return err
	})
}

// leaderOf returns the server that leads the stream.
func leaderOf(t *testing.T, ctx context.Context, js jetstream.JetStream, name string, nodes []*node) *node {
	t.Helper()
	var s jetstream.Stream
	untilAble(t, ctx, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, name)
		return err
	})
	leader := s.CachedInfo().Cluster.Leader
	i := slices.IndexFunc(nodes, func(n *node) bool { return n.Name == leader })
	if i < 0 {
		t.Fatalf("no server is called %q", leader)
	}
	return nodes[i]
}
