package main

import (
	"bufio"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

func newSpool() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Look at the records that a sink's spool keeps on the disk",
		Long: `spool shows what the spool of a sink holds: DIR is its directory, spool.path of the sink, or spool/NAME in service.state.
ls, cat and verify only read, and may be used while the daemon runs.`,
		Args: oneOfCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSpoolList(), newSpoolCat(), newSpoolVerify(), newSpoolRepair())
	return cmd
}

// spoolCommand makes a command whose argument is the directory of a spool.
func spoolCommand(use, short, long string, run func(cmd *cobra.Command, dir string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " DIR", Short: short, Long: long, Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return run(cmd, dir)
		},
	}
}

func newSpoolList() *cobra.Command {
	return spoolCommand("ls", "List the segments of a spool, the oldest first",
		`ls lists the segments of a spool, the oldest first: the epoch and numbers of their records, how many there are, how many of them the
destination has not acknowledged, and the times of the first and the last.`,
		func(cmd *cobra.Command, dir string) error {
			list, err := spool.List(dir)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "segment\tepoch\tfirst\tlast\trecords\tleft\tbytes\tsince\tuntil\t")
			var left uint64
			var bytes int64
			for _, i := range list {
				note := ""
				if !i.Sealed {
					note = "open"
				}
				if i.Headless {
					note = "damaged"
				}
				fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", i.Name, i.Epoch, i.First, i.Last, i.Records.Total(), i.Left.Total(),
					i.Bytes, spoolTime(i.Since), spoolTime(i.Until), note)
				left += i.Left.Total()
				bytes += i.Bytes
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d records are not acknowledged, %d bytes\n", left, bytes)
			return err
		})
}

func spoolTime(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05Z")
}

func newSpoolCat() *cobra.Command {
	var events eventFlags
	var all bool
	cmd := spoolCommand("cat", "Print the records of a spool",
		`cat prints the records of a spool that the destination has not acknowledged, in their order, with the names that they had when they
were made.`,
		func(cmd *cobra.Command, dir string) error {
			shape, err := events.options(stdoutIsTerminal(cmd))
			if err != nil {
				return &usageError{err}
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<18)
			p := spoolPrinter{shape: shape}
			err = spool.Cat(dir, all, func(e spool.Entry) error {
				if err := p.print(e); err != nil {
					return err
				}
				_, err := out.Write(p.line)
				return err
			})
			return errors.Join(err, out.Flush())
		})
	events.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also those that are acknowledged and still there")
	return cmd
}

// spoolPrinter encodes records of a spool.
type spoolPrinter struct {
	shape format.Options
	enc   format.Encoder
	from  event.Origin
	names *event.Names
	line  []byte
}

// print encodes a record into line.
func (p *spoolPrinter) print(e spool.Entry) (err error) {
	p.line = p.line[:0]
	if p.enc == nil || e.From != p.from {
		o := p.shape
		o.Hostname, o.Epoch = e.From.Host, e.From.Epoch
		if p.enc, err = format.New(o); err != nil {
			return err
		}
		p.from, p.names = e.From, nil
	}
	if e.Names != p.names {
		p.names = e.Names
		if preface, ok := p.enc.(format.Prefacer); ok {
			p.line = preface.AppendPreface(p.line, p.names)
		}
	}
	p.line = append(p.enc.Append(p.line, e.Record, e.Names), p.enc.Terminator()...)
	return nil
}

func newSpoolVerify() *cobra.Command {
	return spoolCommand("verify", "Read all of a spool, and say what cannot be read",
		`verify reads all of a spool and checks every checksum. The exit status is 1 if something cannot be read. While the daemon runs, the end
of the newest segment may be half written.`,
		func(cmd *cobra.Command, dir string) error {
			records, problems, err := spool.Verify(dir)
			if err != nil {
				return err
			}
			for i := range problems {
				fmt.Fprintln(cmd.OutOrStdout(), terminal.Text(problems[i].String()))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d records can be read\n", records)
			if len(problems) > 0 {
				return fmt.Errorf("%d places cannot be read", len(problems))
			}
			return nil
		})
}

func newSpoolRepair() *cobra.Command {
	return spoolCommand("repair", "Rewrite segments of a spool in which something cannot be read",
		`repair does what the daemon does by itself as it delivers, at once and without it: it cuts off what was never written whole, and puts a
loss record in the place of what cannot be read. What was there is kept under a name that ends in ".broken". The daemon must not run.`,
		func(cmd *cobra.Command, dir string) error {
			repaired, err := spool.Repair(dir, time.Now)
			for i := range repaired {
				fmt.Fprintln(cmd.OutOrStdout(), terminal.Text(repaired[i].String()))
			}
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d places repaired\n", len(repaired))
			}
			return err
		})
}
