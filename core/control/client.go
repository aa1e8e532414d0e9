package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxAnswer limits the bytes that are read of an answer.
const maxAnswer = 64 << 20

// Patience is how long a daemon may take to answer, but for a reload: one that has stopped never does.
const Patience = 10 * time.Second

// Client asks the daemon at a socket. Safe for concurrent use.
type Client struct {
	path            string
	asking, reloads http.Client // which wait for an answer to begin for so long
}

// NewClient returns a client of the daemon at a path. Nothing is asked yet.
func NewClient(path string) *Client { return newClient(path, Patience, reloadTimeout+Patience) }

func newClient(path string, patience, reloadPatience time.Duration) *Client {
	return &Client{path, http.Client{Transport: transport(path, patience)}, http.Client{Transport: transport(path, reloadPatience)}}
}

func transport(path string, patience time.Duration) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, ResponseHeaderTimeout: patience,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: patience}
			conn, err := d.DialContext(ctx, "unix", path)
			return conn, dialError(path, err)
		},
	}
}

// DialError says that no daemon can be asked at a path.
type DialError struct {
	Path string
	Why  string
	Err  error
}

func (e *DialError) Error() string { return e.Path + ": " + e.Why }

// Unwrap returns the error of the system.
func (e *DialError) Unwrap() error { return e.Err }

func dialError(path string, err error) error {
	why := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no such socket: is pipelined running, and is this its service.control?"
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(path):
		why = "it is no socket: is this the service.control of pipelined?"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody listens there: pipelined has ended and left it behind"
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Sprintf("user %d may not connect: become root, or a member of the group of the socket (service.control_group)", os.Geteuid())
	default:
		why = err.Error()
	}
	return &DialError{path, why, err}
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// Path returns where the daemon is asked.
func (c *Client) Path() string { return c.path }

// RefusedError is an answer of a daemon other than the one that was asked for.
type RefusedError struct {
	Code int // of HTTP
	Text string
}

func (e *RefusedError) Error() string { return e.Text }

// do sends a request without a body. The caller closes the answer's body. What nobody can be asked for is a [*DialError].
func (c *Client) do(ctx context.Context, by *http.Client, method, target string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://pipelined"+target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := by.Do(req)
	if err != nil {
		if dial, ok := errors.AsType[*DialError](err); ok {
			return nil, dial
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && ctx.Err() == nil {
			return nil, fmt.Errorf("%s: the daemon does not answer: %w", c.path, err)
		}
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	return resp, nil
}

// Get returns the code and the body of an answer.
func (c *Client) Get(ctx context.Context, target string) (code int, body []byte, err error) {
	return c.body(c.do(ctx, &c.asking, http.MethodGet, target))
}

func (c *Client) body(resp *http.Response, err error) (int, []byte, error) {
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", c.path, err)
	}
	return resp.StatusCode, body, nil
}

// Daemon asks which daemon has the socket.
func (c *Client) Daemon(ctx context.Context) (id Identity, err error) {
	code, body, err := c.Get(ctx, "/daemon")
	return id, c.decode(code, body, err, &id)
}

// Reload has the configuration read again, and returns what came of it.
func (c *Client) Reload(ctx context.Context) (o Outcome, err error) {
	code, body, err := c.body(c.do(ctx, &c.reloads, http.MethodPost, "/reload"))
	return o, c.decode(code, body, err, &o)
}

// Events asks for events, as they are admitted. The caller reads the lines and closes them; those that begin with [Comment] are none.
func (c *Client) Events(ctx context.Context, q *EventQuery) (io.ReadCloser, error) {
	return c.stream(ctx, "/events?"+q.Values().Encode())
}

// Frames asks for a [Frame] in every interval, each as JSON. The caller reads and closes them.
func (c *Client) Frames(ctx context.Context, interval time.Duration) (io.ReadCloser, error) {
	return c.stream(ctx, "/top?interval="+interval.String())
}

// stream asks for an answer that does not end. The error of another answer is a [*RefusedError].
func (c *Client) stream(ctx context.Context, target string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, &c.asking, http.MethodGet, target)
	if err == nil && resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	code, body, err := c.body(resp, err)
	if err == nil {
		err = &RefusedError{code, Refusal(code, body)}
	}
	return nil, err
}

func (c *Client) decode(code int, body []byte, err error, into any) error {
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("%s: %s", c.path, Refusal(code, body))
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: what answers there is no pipelined: %w", c.path, err)
	}
	return nil
}

// Refusal words an answer other than 200.
func Refusal(code int, body []byte) string {
	text := strings.TrimSpace(string(body))
	if text == "" {
		text = http.StatusText(code)
	}
	return text
}
