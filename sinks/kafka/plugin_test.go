package kafka_test

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func TestSample(t *testing.T) { sinkcheck.Sample(t, kafka.Plugin()) }

func TestReadme(t *testing.T) { sinkcheck.Readme(t, kafka.Plugin(), 3) }

func TestMistakes(t *testing.T) {
	sinkcheck.Mistakes(t, kafka.Plugin(), map[string][]string{
		"": nil,
		`brokers = ["a:9092", "[2001:db8::1]:9093"]`:                      nil,
		`topic = "x.{sink}.{host}.{kind}.{zone}.{egress-zone}"`:           nil,
		`tls = {}` + "\nlinger = \"0s\"":                                  nil,
		`brokers = []`:                                                    {"brokers: want at least one"},
		`brokers = ["kafka-1", "kafka:x", ":9092", "kafka://x:1", "x:0"]`: {`"kafka-1"`, `"kafka:x"`, `":9092"`, `"kafka://x:1"`, `"x:0"`},
		`broker = "x"`:       {"did you mean \"brokers\"?"},
		`topic = "x.{zon}"`:  {"no placeholder {zon}; known are {egress-zone}, {host}, {kind}, {sink}, {zone}"},
		`topic = ""`:         {"topic: the topic is missing"},
		`topic = ".."`:       {"no name of a topic"},
		`topic = "a/{zone}"`: {"topics do not have"},
		`topic = "é"`:        {"topics do not have"},
		`topic = "` + strings.Repeat("x", 250) + `"`: {"250 bytes"},
		`compression = "brotli"`:                     {"brotli"},
		"max_in_flight = 0\nlinger = \"2s\"\nack_timeout = \"1ms\"\nconnect_timeout = \"1h\"\nbatch_bytes = \"1kB\"": {"max_in_flight: want 1 to 65536", "linger: want 0s to 1s", "ack_timeout: want 1s", "connect_timeout: want", "batch_bytes: want"},
		"format = \"xml\"":       {"xml"},
		"profile = \"junos-99\"": {"junos-99"},
		`sasl = {}`:              {"sasl.mechanism", "sasl.user", "sasl.password"},
		`sasl = { mechanism = "gssapi", user = "x", password = "y", password_file = "z" }`: {"gssapi", "sasl.password_file"},
		`tls = { cert = "c.pem" }`: {"tls.key: missing"},
		`tls = { verify = false }`: {"verify"},
	})
}
