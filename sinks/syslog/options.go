package syslog

import (
	"fmt"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// options is the table of a syslog sink.
type options struct {
	Address  []string `toml:"address"`
	Strategy strategy `toml:"strategy"`
	Framing  framing  `toml:"framing"`

	Format           string     `toml:"format"`
	Profile          string     `toml:"profile"`
	Platform         uint32     `toml:"platform"`
	SDID             string     `toml:"sd_id"`
	StructuredFilter bool       `toml:"structured_filter"`
	Sequence         bool       `toml:"sequence"`
	Text             bool       `toml:"text"`
	Priority         priorities `toml:"priority"`

	TLS tlsOptions `toml:"tls"`

	Window         int           `toml:"window"`
	MaxRefusals    int           `toml:"max_refusals"`
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	WriteTimeout   time.Duration `toml:"write_timeout"`
	CloseTimeout   time.Duration `toml:"close_timeout"`
	Keepalive      time.Duration `toml:"keepalive"`
	UserTimeout    time.Duration `toml:"user_timeout"`
	ReturnAfter    time.Duration `toml:"return_after"`
}

func defaults() options {
	return options{
		Format:         format.RFC5424,
		Profile:        format.Junos20,
		Platform:       format.DefaultPlatform,
		TLS:            tlsOptions{MinVersion: tls12},
		Window:         1000,
		MaxRefusals:    3,
		ConnectTimeout: 10 * time.Second,
		WriteTimeout:   30 * time.Second,
		CloseTimeout:   5 * time.Second,
		Keepalive:      10 * time.Second,
		UserTimeout:    20 * time.Second,
		ReturnAfter:    30 * time.Second,
	}
}

// tlsOptions is the table tls.
type tlsOptions struct {
	CA         string     `toml:"ca"`
	Cert       string     `toml:"cert"`
	Key        string     `toml:"key"`
	ServerName string     `toml:"server_name"`
	MinVersion tlsVersion `toml:"min_version"`
}

// priorities is the table priority: nil is what devices send.
type priorities struct {
	SessionOpen  *format.Priority `toml:"session-open"`
	SessionClose *format.Priority `toml:"session-close"`
	PolicyDeny   *format.Priority `toml:"policy-deny"`
	ScreenDrop   *format.Priority `toml:"screen-drop"`
	FilterLog    *format.Priority `toml:"filter-log"`
	Loss         *format.Priority `toml:"loss"`
}

func (p *priorities) byKind() map[event.Kind]format.Priority {
	set := make(map[event.Kind]format.Priority)
	for k, v := range map[event.Kind]*format.Priority{
		event.SessionOpen: p.SessionOpen, event.SessionClose: p.SessionClose, event.PolicyDeny: p.PolicyDeny,
		event.ScreenDrop: p.ScreenDrop, event.FilterLog: p.FilterLog, event.Loss: p.Loss,
	} {
		if v != nil {
			set[k] = *v
		}
	}
	return set
}

// strategy says what several addresses are for.
type strategy uint8

const (
	failover strategy = iota // the first that works
	all                      // every one
)

func (s *strategy) UnmarshalText(text []byte) error {
	switch string(text) {
	case "failover":
		*s = failover
	case "all":
		*s = all
	default:
		return fmt.Errorf(`want "failover" or "all", got %q`, text)
	}
	return nil
}

func (s strategy) String() string { return [...]string{"failover", "all"}[s] }

// framing says where a message ends on a byte stream.
type framing uint8

const (
	octetCounting framing = iota // RFC 6587, 3.4.1; the only one of RFC 5425
	newline                      // RFC 6587, 3.4.2
)

func (f *framing) UnmarshalText(text []byte) error {
	switch string(text) {
	case "octet-counting":
		*f = octetCounting
	case "newline":
		*f = newline
	default:
		return fmt.Errorf(`want "octet-counting" or "newline", got %q`, text)
	}
	return nil
}
