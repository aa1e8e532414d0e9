package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/options"
)

// connection is one connection to one server, for one run.
type connection struct {
	nc      *natsgo.Conn
	js      jetstream.JetStream
	closed  chan struct{} // after the last of its callbacks
	maxSize int           // of a message, headers included
}

// events are what a connection tells of, from goroutines of its own.
type events struct {
	fail   func(error)
	stored func(*natsgo.Msg, *jetstream.PubAck)
	failed func(*natsgo.Msg, error)
}

// connect connects to the first server that answers and finds the stream. What happens on the connection later ends with ctx
// at the latest: its sockets are closed then.
func (k *Sink) connect(ctx context.Context, on events) (*connection, error) {
	c := &connection{closed: make(chan struct{})}
	opts, err := k.connectOptions(ctx)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if err != nil {
				on.fail(fmt.Errorf("the connection is lost: %w", err))
			}
		}),
		natsgo.ClosedHandler(func(nc *natsgo.Conn) {
			if err := nc.LastError(); err != nil {
				on.fail(fmt.Errorf("the connection is closed: %w", err))
			}
			on.fail(errors.New("the connection is closed"))
			close(c.closed)
		}),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { on.fail(err) }),
	)
	c.nc, err = natsgo.Connect(strings.Join(k.servers(), ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", strings.Join(k.table.Servers, ", "), err)
	}
	k.learn(c.nc.DiscoveredServers())
	if err := k.open(ctx, c, on); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close closes the connection and waits for its callbacks.
func (c *connection) close() {
	c.nc.Close()
	<-c.closed
}

func (k *Sink) connectOptions(ctx context.Context) ([]natsgo.Option, error) {
	t := &k.table
	opts := []natsgo.Option{
		natsgo.Name("pipelined " + orUnknown(k.host) + " " + k.name),
		natsgo.NoReconnect(),
		natsgo.Timeout(t.ConnectTimeout),
		natsgo.FlusherTimeout(t.AckTimeout),
		natsgo.PingInterval(max(t.AckTimeout, time.Second)),
		natsgo.MaxPingsOutstanding(2),
		natsgo.SetCustomDialer(&dialer{ctx: ctx, timeout: t.ConnectTimeout}),
	}
	if t.TLS != nil {
		c, err := t.TLS.Config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, natsgo.Secure(c))
		if t.TLSFirst {
			opts = append(opts, natsgo.TLSHandshakeFirst())
		}
	}
	who, err := t.Auth.option()
	if err != nil {
		return nil, err
	}
	return append(opts, who), nil
}

// option returns what the connection is authorised with.
func (a auth) option() (natsgo.Option, error) {
	switch {
	case a.Credentials != "":
		return natsgo.UserCredentials(a.Credentials), nil
	case a.NKey != "":
		return natsgo.NkeyOptionFromSeed(a.NKey)
	case a.User != "":
		password, err := options.Secret(a.Password, a.PasswordFile)
		return natsgo.UserInfo(a.User, password), err
	case a.Token != "" || a.TokenFile != "":
		token, err := options.Secret(a.Token, a.TokenFile)
		return natsgo.Token(token), err
	}
	return func(*natsgo.Options) error { return nil }, nil
}

// dialer closes what it has dialled when ctx ends, so that nothing waits for a server that does not answer.
type dialer struct {
	ctx     context.Context
	timeout time.Duration
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	return conn, nil
}

// servers returns the configured servers and those that the last one told about.
func (k *Sink) servers() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Concat(k.table.Servers, k.discovered)
}

func (k *Sink) learn(discovered []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.discovered = discovered
}

// open finds the stream, or creates it, and says what of it does not fit.
func (k *Sink) open(ctx context.Context, c *connection, on events) (err error) {
	jsOptions := []jetstream.JetStreamOpt{
		jetstream.WithPublishAsyncMaxPending(k.table.MaxInFlight), // ours; the library's is lower, and an error after 200 ms
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *natsgo.Msg, ack *jetstream.PubAck) { on.stored(m, ack) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *natsgo.Msg, err error) { on.failed(m, err) }),
	}
	if k.table.Domain != "" {
		c.js, err = jetstream.NewWithDomain(c.nc, k.table.Domain, jsOptions...)
	} else {
		c.js, err = jetstream.New(c.nc, jsOptions...)
	}
	if err != nil {
		return err
	}
	config, err := k.findStream(ctx, c.js)
	if err != nil {
		return fmt.Errorf("stream %s: %w", k.table.Stream.Name, err)
	}
	c.maxSize = int(c.nc.MaxPayload())
	if config.MaxMsgSize > 0 {
		c.maxSize = min(c.maxSize, int(config.MaxMsgSize))
	}
	k.opened(c.nc.ConnectedUrlRedacted(), config)
	return nil
}

func (k *Sink) findStream(ctx context.Context, js jetstream.JetStream) (jetstream.StreamConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, k.table.ConnectTimeout)
	defer cancel()
	want := &k.table.Stream
	found, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && want.Create {
		found, err = js.CreateStream(ctx, want.config(wildcard(k.subjects.Pattern("*"))))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster
			found, err = js.Stream(ctx, want.Name)
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return jetstream.StreamConfig{}, fmt.Errorf("%w; create it, or set stream.create = true", err)
	case err != nil:
		return jetstream.StreamConfig{}, err
	}
	config := found.CachedInfo().Config
	switch {
	case config.NoAck:
		return config, errors.New("has no_ack set, so it never says what it has")
	case config.Mirror != nil:
		return config, errors.New("is a mirror, and nothing can be published to it")
	case config.Sealed:
		return config, errors.New("is sealed, and nothing can be published to it")
	}
	return config, nil
}

// config is what a stream is created as.
func (s *stream) config(subject string) jetstream.StreamConfig {
	kind, _ := storage(s.Storage)
	limit := int64(s.MaxBytes)
	if limit == 0 {
		limit = -1
	}
	return jetstream.StreamConfig{
		Name:        s.Name,
		Description: "security events of pipelined",
		Subjects:    []string{subject},
		Storage:     kind,
		Replicas:    s.Replicas,
		MaxAge:      s.MaxAge,
		MaxBytes:    limit,
		Duplicates:  s.Duplicates,
		AllowDirect: true,
	}
}
