package kafka

import (
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
)

// Limits of the options.
const (
	maxInFlight   = 65536
	maxLinger     = time.Second
	minTimeout    = time.Second
	maxTimeout    = 10 * time.Minute
	minBatchBytes = 16 << 10 // any record fits
	maxBatchBytes = 64 << 20
)

// table is the table of a Kafka sink.
type table struct {
	options.Format
	Brokers        []string      `toml:"brokers"`
	Topic          string        `toml:"topic"`
	CreateTopics   bool          `toml:"create_topics"`
	Compression    string        `toml:"compression"`
	Linger         time.Duration `toml:"linger"`
	BatchBytes     values.Size   `toml:"batch_bytes"`
	MaxInFlight    int           `toml:"max_in_flight"`
	AckTimeout     time.Duration `toml:"ack_timeout"`
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	SASL           *login        `toml:"sasl"`
	TLS            *options.TLS  `toml:"tls"`
}

// login says who the sink is.
type login struct {
	Mechanism    string `toml:"mechanism"`
	User         string `toml:"user"`
	Password     string `toml:"password"`
	PasswordFile string `toml:"password_file"`
}

func defaults() table {
	return table{
		Format:         options.DefaultFormat(format.JSON),
		Brokers:        []string{"127.0.0.1:9092"},
		Topic:          "pipelined",
		Compression:    "snappy",
		Linger:         5 * time.Millisecond,
		BatchBytes:     1_000_000,
		MaxInFlight:    8192,
		AckTimeout:     30 * time.Second,
		ConnectTimeout: 5 * time.Second,
	}
}

// check records every mistake in the values.
func (t *table) check(cfg sdk.Config) bool {
	c := options.Check(cfg)
	c.Mistake(len(t.Brokers) == 0, "brokers", `want at least one broker, such as "kafka-1:9092"`)
	for _, b := range t.Brokers {
		c.Mistake(!isAddress(b), "brokers", `want brokers such as "kafka-1:9092", got %q`, b)
	}
	_, ok := codec(t.Compression)
	c.Mistake(!ok, "compression", `want "none", "gzip", "snappy", "lz4" or "zstd", got %q`, t.Compression)
	c.Duration(t.Linger, "linger", 0, maxLinger)
	c.Mistake(t.BatchBytes < minBatchBytes || t.BatchBytes > maxBatchBytes, "batch_bytes", "want 16KiB to 64MiB, got %d bytes",
		t.BatchBytes)
	c.Number(t.MaxInFlight, "max_in_flight", 1, maxInFlight)
	c.Duration(t.AckTimeout, "ack_timeout", minTimeout, maxTimeout)
	c.Duration(t.ConnectTimeout, "connect_timeout", minTimeout, maxTimeout)
	t.SASL.check(c)
	c.TLS(t.TLS, "tls")
	return c.OK()
}

func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && portErr == nil && n > 0
}

func (l *login) check(c *options.Checker) {
	if l == nil {
		return
	}
	_, ok := l.mechanism("")
	c.Mistake(!ok, "sasl.mechanism", `want "plain", "scram-sha-256" or "scram-sha-512", got %q`, l.Mechanism)
	c.Mistake(l.User == "", "sasl.user", "the user is missing")
	c.Mistake(l.Password == "" && l.PasswordFile == "", "sasl.password", "missing: want password or password_file")
	c.Mistake(l.Password != "" && l.PasswordFile != "", "sasl.password_file", "there is a password too; want one of them")
}

// mechanism returns how the sink logs in, with that password.
func (l *login) mechanism(password string) (sasl.Mechanism, bool) {
	who := scram.Auth{User: l.User, Pass: password}
	switch l.Mechanism {
	case "plain":
		return plain.Auth{User: l.User, Pass: password}.AsMechanism(), true
	case "scram-sha-256":
		return who.AsSha256Mechanism(), true
	case "scram-sha-512":
		return who.AsSha512Mechanism(), true
	}
	return nil, false
}

func codec(name string) (kgo.CompressionCodec, bool) {
	switch name {
	case "none":
		return kgo.NoCompression(), true
	case "gzip":
		return kgo.GzipCompression(), true
	case "snappy":
		return kgo.SnappyCompression(), true
	case "lz4":
		return kgo.Lz4Compression(), true
	case "zstd":
		return kgo.ZstdCompression(), true
	}
	return kgo.CompressionCodec{}, false
}
