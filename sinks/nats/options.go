package nats

import (
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// Limits of the options.
const (
	maxInFlight   = 65536
	maxBatch      = 4096
	maxLinger     = time.Second
	maxTimeout    = 10 * time.Minute
	minTimeout    = 100 * time.Millisecond
	minDuplicates = 100 * time.Millisecond
	maxReplicas   = 5
)

// table is the table of a NATS sink.
type table struct {
	options.Format
	Servers        []string      `toml:"servers"`
	Subject        string        `toml:"subject"`
	Stream         stream        `toml:"stream"`
	Domain         string        `toml:"domain"`
	Batch          int           `toml:"batch"`
	Linger         time.Duration `toml:"linger"`
	MaxInFlight    int           `toml:"max_in_flight"`
	AckTimeout     time.Duration `toml:"ack_timeout"`
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	Auth           auth          `toml:"auth"`
	TLS            *options.TLS  `toml:"tls"`
	TLSFirst       bool          `toml:"tls_first"`
}

// stream names the stream, and says what it is like if the sink is to create it.
type stream struct {
	Name       string        `toml:"name"`
	Create     bool          `toml:"create"`
	Replicas   int           `toml:"replicas"`
	Storage    string        `toml:"storage"`
	MaxAge     time.Duration `toml:"max_age"`
	MaxBytes   values.Size   `toml:"max_bytes"`
	Duplicates time.Duration `toml:"duplicates"`
}

// auth says who the sink is. One way, or none.
type auth struct {
	Credentials  string `toml:"credentials"`
	NKey         string `toml:"nkey"`
	User         string `toml:"user"`
	Password     string `toml:"password"`
	PasswordFile string `toml:"password_file"`
	Token        string `toml:"token"`
	TokenFile    string `toml:"token_file"`
}

func defaults() table {
	return table{
		Format:         options.DefaultFormat(format.JSON),
		Servers:        []string{"nats://127.0.0.1:4222"},
		Subject:        "pipelined.{kind}.{zone}",
		Stream:         stream{Replicas: 1, Storage: "file", Duplicates: 2 * time.Minute},
		Batch:          1,
		Linger:         5 * time.Millisecond,
		MaxInFlight:    1024,
		AckTimeout:     10 * time.Second,
		ConnectTimeout: 5 * time.Second,
	}
}

// check records every mistake in the values.
func (t *table) check(cfg sdk.Config) bool {
	c := options.Check(cfg)
	checkServers(c, t.Servers)
	t.Stream.check(c)
	t.Auth.check(c)
	c.Number(t.Batch, "batch", 1, maxBatch)
	c.Duration(t.Linger, "linger", 0, maxLinger)
	c.Number(t.MaxInFlight, "max_in_flight", 1, maxInFlight)
	c.Duration(t.AckTimeout, "ack_timeout", minTimeout, maxTimeout)
	c.Duration(t.ConnectTimeout, "connect_timeout", minTimeout, maxTimeout)
	c.Mistake(t.TLSFirst && t.TLS == nil, "tls_first", "needs a table tls; an empty one will do")
	c.TLS(t.TLS, "tls")
	return c.OK()
}

func checkServers(c *options.Checker, list []string) {
	c.Mistake(len(list) == 0, "servers", `want at least one server, such as "nats://nats-1:4222"`)
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || (u.Scheme != "nats" && u.Scheme != "tls") {
			c.Mistake(true, "servers", `want servers such as "nats://nats-1:4222" or "tls://nats-1:4222", got %q`, s)
			continue
		}
		c.Mistake(u.User != nil, "servers", "user and password stand in the table auth, not in a server's address")
	}
}

func (s stream) check(c *options.Checker) {
	c.Mistake(s.Name == "", "stream.name", "the name of the stream is missing")
	c.Mistake(strings.ContainsAny(s.Name, " \t\r\n\f.*>/\\"), "stream.name",
		`%q is no name of a stream: it may not hold blanks and none of . * > / \`, s.Name)
	c.Number(s.Replicas, "stream.replicas", 1, maxReplicas)
	_, ok := storage(s.Storage)
	c.Mistake(!ok, "stream.storage", `want "file" or "memory", got %q`, s.Storage)
	c.Mistake(s.MaxAge < 0, "stream.max_age", `want a duration such as "168h", or "0s" for ever, got %v`, s.MaxAge)
	c.Mistake(s.Duplicates < minDuplicates, "stream.duplicates", "want at least %v, got %v", minDuplicates, s.Duplicates)
	c.Mistake(s.MaxAge > 0 && s.Duplicates > s.MaxAge, "stream.duplicates", "want at most max_age (%v), got %v", s.MaxAge,
		s.Duplicates)
}

func (a auth) check(c *options.Checker) {
	ways := 0
	for _, given := range []bool{a.Credentials != "", a.NKey != "", a.User != "", a.Token != "" || a.TokenFile != ""} {
		if given {
			ways++
		}
	}
	c.Mistake(ways > 1, "auth", "more than one way: want one of credentials, nkey, user and token")
	password := a.Password != "" || a.PasswordFile != ""
	c.Mistake(password && a.User == "", "auth.user", "missing: there is a password")
	c.Mistake(a.User != "" && !password, "auth.password", "missing: want password or password_file")
	c.Mistake(a.Password != "" && a.PasswordFile != "", "auth.password_file", "there is a password too; want one of them")
	c.Mistake(a.Token != "" && a.TokenFile != "", "auth.token_file", "there is a token too; want one of them")
}

func storage(name string) (jetstream.StorageType, bool) {
	switch name {
	case "file":
		return jetstream.FileStorage, true
	case "memory":
		return jetstream.MemoryStorage, true
	}
	return 0, false
}
