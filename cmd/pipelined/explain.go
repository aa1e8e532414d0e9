package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sources/capture"
)

type explainOptions struct {
	config, capture, iface string
	packet                 int
	json                   bool
}

func newExplain() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [--capture FILE --packet N | PACKET]",
		Short: "Say what a configuration makes of one packet, and which rule decides",
		Long: `explain carries one packet past the hooks of the configuration, with the code of the daemon, and says at each what it was
compared with, which rule matched, and where that rule stands in the configuration. It prints the verdict and the records that the
packet makes, those of the end of its session among them. For a packet that a policy denies it names the policy that comes nearest to
permitting it, and what keeps it from that.

PACKET describes a packet in words: a protocol, the two ends, and any of these words with their values:

  in IFACE[.VLAN]       the interface that it comes in on; without it, prefixes tell its zone
  out IFACE[.VLAN]      the interface by which it leaves, instead
  from ZONE, to ZONE    the zones that it comes from and goes to; without them, interface and prefixes tell
  flags LIST            of TCP: fin, syn, rst, psh, ack, urg, or none; without it, syn
  type N, code N        of ICMP; without them, an echo request
  length N              of the IP packet in bytes
  ttl N, dscp N
  fragment OFFSET[+]    a fragment, "+" if more follow: 0+ is a first one; a later one has no ports
  option NAME           an option of IPv4: record-route, timestamp, security, stream, loose-source-route, strict-source-route, bad

Instead of these words PACKET may be a line of the log, of a session, a denial, a filter or a screen, in any format that sinks write: the
packet is the one that the line tells of, between the zones that it names; where another firewall has made the record, the answer says so first. What a screen looks for, such as flags, is not in its record, and is put in.

It is carried alone: there is no session before it, no rate and no scan.`,
		Example: `  pipelined explain 'tcp 10.0.1.5:40000 > 192.0.2.80:443 in lan0'
  pipelined explain --json 'icmp 198.51.100.7 > 192.0.2.80 in wan0 length 1400'
  pipelined explain --capture edge.pcapng.gz --packet 17`,
		Args:              arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	configFlag(cmd, &o.config)
	f := cmd.Flags()
	f.StringVar(&o.capture, "capture", "", "explain a packet of the capture `FILE`")
	f.IntVar(&o.packet, "packet", 1, "which packet of the capture, the `N`th from 1")
	f.StringVar(&o.iface, "interface", "", "`NAME` of the interface the capture was taken on, if it does not say")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if (len(args) == 1) == (o.capture != "") {
		return &usageError{errors.New("either a packet or --capture")}
	}
	for _, flag := range []string{"packet", "interface"} {
		if o.capture == "" && cmd.Flags().Changed(flag) {
			return &usageError{fmt.Errorf("--%s: goes with --capture", flag)}
		}
	}
	var text *packettext.Packet
	var record *packettext.Record
	var screen *packettext.Screen
	if len(args) == 1 {
		var err error
		if screen, err = packettext.ParseScreen(args[0]); errors.Is(err, packettext.ErrNoRecord) {
			if record, err = packettext.ParseRecord(args[0]); errors.Is(err, packettext.ErrNoRecord) {
				text, err = parsePacket(args[0])
			}
		}
		if err != nil {
			return &usageError{err}
		}
	}
	var input *plan.Input
	if o.capture != "" {
		input = &plan.Input{Name: "capture", Configured: capture.Configure(capture.Config{Path: o.capture, Stdin: os.Stdin, Interface: o.iface}, nil)}
	}
	x, _, err := explainer(cmd, o.config, input)
	if err != nil {
		return err
	}
	var a *explain.Answer
	switch {
	case screen != nil:
		a, err = x.Screen(screen)
	case record != nil:
		a, err = x.Line(record)
	case text != nil:
		a, err = x.Text(text)
	default:
		a, err = o.ofCapture(cmd.Context(), x)
	}
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), a)
	}
	return a.Write(forPeople(cmd))
}

// parsePacket reads the text of a packet, which is no line of a log. The error shows the place in the text.
func parsePacket(text string) (*packettext.Packet, error) {
	p, err := packettext.Parse(text)
	if err != nil {
		if why := packettext.Unreadable(text); why != nil {
			return nil, why
		}
	}
	if e, ok := errors.AsType[*packettext.Error](err); ok {
		// A tab is one character, and would be drawn as several.
		return nil, fmt.Errorf("%w\n  %s\n  %s^", err, strings.ReplaceAll(text, "\t", " "), strings.Repeat(" ", e.Column-1))
	}
	return p, err
}

// explainer loads a configuration and returns what explains its verdicts.
func explainer(cmd *cobra.Command, path string, input *plan.Input) (*explain.Explainer, *planned, error) {
	p, err := loadPlan(cmd.Context(), cmd.ErrOrStderr(), planOptions{path: path}, plan.Options{
		Log: newLogger(cmd.ErrOrStderr(), slog.LevelWarn), Input: input,
	})
	if err != nil {
		return nil, nil, err
	}
	return p.Explainer(), p, p.host.Close()
}

// ofCapture explains a packet of the capture.
func (o *explainOptions) ofCapture(ctx context.Context, x *explain.Explainer) (*explain.Answer, error) {
	if o.packet < 1 {
		return nil, &usageError{errors.New("--packet: packets are numbered from 1")}
	}
	src, err := capture.Open(capture.Config{Path: o.capture, Stdin: os.Stdin, Interface: o.iface, Index: x.Zones.Index})
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.Close() }() // it was only read
	var b packet.Batch
	for passed := 0; ; {
		b.N = 0
		err := src.Receive(ctx, &b, time.Second)
		if i := o.packet - 1 - passed; i < b.N {
			return x.Frame(&b.Frames[i], fmt.Sprintf("%d of %s: %s", o.packet, o.capture, packettext.Describe(&b.Frames[i])))
		}
		passed += b.N
		src.Release()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: there is no packet %d; it has %d", o.capture, o.packet, passed)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
