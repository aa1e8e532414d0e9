package nats_test

import (
	"testing"

	"github.com/rtflow/pipelined/internal/testing/sinkcheck"
	"github.com/rtflow/pipelined/sinks/nats"
)

func TestSample(t *testing.T) {
	sinkcheck.Sample(t, nats.Plugin(), "nkey", "user", "password_file", "token_file")
}

func TestReadme(t *testing.T) { sinkcheck.Readme(t, nats.Plugin(), 3) }

func TestMistakes(t *testing.T) {
	const name = "stream.name = \"E\"\n"
	sinkcheck.Mistakes(t, nats.Plugin(), map[string][]string{
		name: nil,
		name + `servers = ["nats://a:4222", "tls://b"]`:                    nil,
		name + `subject = "x.{sink}.{host}.{kind}.{zone}.{egress-zone}.%"`: nil,
		name + `tls = {}` + "\ntls_first = true":                           nil,
		name + "batch = 500\nlinger = \"0s\"\nformat = \"frames\"":         nil,
		"":                      {"stream.name: the name of the stream is missing"},
		"stream.name = \"a.b\"": {"no name of a stream"},
		name + `servers = []`:   {"servers: want at least one"},
		name + `servers = ["nats-1:4222", "http://x:1", "nats://u:p@x:1", "nats://x/y"]`: {`"nats-1:4222"`, `"http://x:1"`, "stand in the table auth", `"nats://x/y"`},
		name + `server = "x"`:           {"did you mean \"servers\"?"},
		name + `subject = "x.{zon}"`:    {"no placeholder {zon}; known are {egress-zone}, {host}, {kind}, {sink}, {zone}"},
		name + `subject = "x.{zone"`:    {"a { without its }"},
		name + `subject = "x.zone}"`:    {"a } without its {"},
		name + `subject = "x..{zone}"`:  {"empty token"},
		name + `subject = ""`:           {"empty token"},
		name + `subject = "x.*.{zone}"`: {"wildcard"},
		name + `subject = "x y"`:        {"blank"},
		name + `subject = "$SYS.x"`:     {"$"},
		name + "batch = 0\nmax_in_flight = 0\nlinger = \"2s\"\nack_timeout = \"1ms\"\nconnect_timeout = \"1h\"": {"batch: want 1 to 4096", "max_in_flight: want 1 to 65536", "linger: want 0s to 1s", "ack_timeout: want 100ms", "connect_timeout: want"},
		name + "format = \"xml\"":       {"xml"},
		name + "profile = \"junos-99\"": {"junos-99"},
		name + "platform = 0":           {"SD-ID"},
		"stream = { name = \"E\", replicas = 6, storage = \"tape\", max_age = \"-1s\", duplicates = \"1ms\", max_bytes = \"many\" }": {"many"},
		"stream = { name = \"E\", replicas = 6, storage = \"tape\", max_age = \"-1s\", duplicates = \"1ms\" }":                       {"replicas: want 1 to 5", "tape", "max_age", "duplicates: want at least"},
		"stream = { name = \"E\", max_age = \"1m\" }":                                                                                {"at most max_age"},
		name + `auth = { user = "x" }`:                                      {"auth.password: missing"},
		name + `auth = { password = "x" }`:                                  {"auth.user: missing"},
		name + `auth = { user = "x", password = "y", password_file = "z" }`: {"auth.password_file"},
		name + `auth = { token = "x", token_file = "z" }`:                   {"auth.token_file"},
		name + `auth = { token = "x", nkey = "z" }`:                         {"more than one way"},
		name + `tls = { cert = "c.pem" }`:                                   {"tls.key: missing"},
		name + `tls = { key = "k.pem" }`:                                    {"tls.cert: missing"},
		name + `tls = { verify = false }`:                                   {"verify"},
		name + `tls_first = true`:                                           {"needs a table tls"},
	})
}
