package pluginkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// Rule is one rule of the contract.
type Rule struct {
	Level Level
	Name  string
}

// Contract lists the rules in the order in which they are tried. docs/plugins.md has a row for each.
func Contract() (rules []Rule) {
	for _, c := range checks() {
		rules = append(rules, Rule{c.level, c.name})
	}
	return rules
}

// checks are run in this order.
func checks() []check {
	list := []check{
		{Must, "starts, shakes hands and takes its configuration", with(starts)},
		{Must, "refuses a version of the protocol that it does not know", refusesVersion},
		{Should, "ends at once when somebody else starts it", endsAlone},
		{Should, "reports a key of its configuration that it does not know", reportsUnknownKey},
	}
	for _, c := range sinktest.Checks() {
		list = append(list, check{Must, c.Name, with(func(ctx context.Context, sink *pluginhost.Sink) error {
			return c.Run(ctx, sink)
		})})
	}
	return append(list,
		check{Must, "acknowledges in order and only what it has got", with(acknowledgesInOrder)},
		check{Must, "takes records one by one, slowly", with(takesSlowly)},
		check{Must, "stops in the middle of a stream", stopsInTheMiddle},
		check{Must, "takes records again after it was killed", with(takesAgain)},
		check{Must, "does not acknowledge what cannot be read", with(refusesNonsense)},
		check{Should, "survives what cannot be read", with(survivesNonsense)},
		check{Must, "passes over messages that it does not know", with(passesOverUnknown)},
		check{Must, "takes a great many records", takesMany},
		check{Must, "answers for its health under load", answersUnderLoad},
		check{Should, "bounds what may be sent ahead", with(boundsWindow)},
		check{Should, "ends by itself when it is told to", with(endsWhenTold)},
	)
}

// with makes a check of one that wants a sink.
func with(run func(ctx context.Context, sink *pluginhost.Sink) error) func(ctx context.Context, b *bench) error {
	return func(ctx context.Context, b *bench) error {
		sink, err := b.sink()
		if err != nil {
			return err
		}
		return run(ctx, sink)
	}
}

func starts(ctx context.Context, sink *pluginhost.Sink) error {
	_, err := sink.Client(ctx)
	return err
}

func refusesVersion(ctx context.Context, b *bench) error {
	sink, err := b.open(pluginhost.Options{Version: sinkv1.Version + 1000}, string(b.o.Config))
	if err != nil {
		return err
	}
	if _, err := sink.Client(ctx); err == nil {
		return errors.New("it claims to speak any version: PLUGIN_PROTOCOL_VERSIONS says which the daemon speaks, the handshake which one is used")
	}
	return nil
}

// alone is how long a plugin may take to see that it was not started by the daemon.
const alone = 5 * time.Second

func endsAlone(ctx context.Context, b *bench) error {
	within := alone + b.o.Slack
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.o.Command[0], b.o.Command[1:]...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("started without PIPELINED_PLUGIN it still runs after %v", within)
	case err == nil:
		return errors.New("started without PIPELINED_PLUGIN it ends with the status 0")
	}
	return nil
}

func reportsUnknownKey(ctx context.Context, b *bench) error {
	const key = "pipelined-no-such-key"
	text := string(b.o.Config)
	if len(b.table) > 0 {
		text += fmt.Sprintf("\n[%s.%q.%q]\n", b.table[0], b.table[1], key)
	} else {
		text += fmt.Sprintf("\n[%q]\n", key)
	}
	sink, err := b.open(pluginhost.Options{}, text)
	if err != nil {
		return err
	}
	switch _, err := sink.Client(ctx); {
	case err == nil:
		return fmt.Errorf("it takes the key %q: a spelling mistake would go unnoticed", key)
	case !strings.Contains(err.Error(), key):
		return fmt.Errorf("it does not name the key %q: %w", key, err)
	}
	return nil
}
