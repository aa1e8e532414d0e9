package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/xsk"
)

func newBypass() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bypass on|off|status [INTERFACE...]",
		Short: "Let all traffic of a bridge go past, unjudged, or end that",
		Long: `bypass tells the XDP programs of bridges what to do with frames. It needs no daemon: the programs stay on their interfaces when
the daemon ends, where they could be pinned.

  on      every frame goes to the peer at once, and nobody judges it, whether or not a daemon runs, until it is switched off
  off     frames are for the daemon again; while none reads them, it is as on_failure says
  status  show which interfaces have a program, and what it does

With INTERFACE it is for that interface and its peer, otherwise for all of this network namespace.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("on, off or status?")}
			}
			return &usageError{fmt.Errorf("%s", spelling.Unknown("word", args[0], []string{"on", "off", "status"}))}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	for _, c := range []struct {
		use, short string
		run        func(cmd *cobra.Command, list []*xsk.Attachment) error
	}{
		{"on", "Every frame goes past", func(cmd *cobra.Command, list []*xsk.Attachment) error { return setBypass(cmd, list, true) }},
		{"off", "Frames are for the daemon again", func(cmd *cobra.Command, list []*xsk.Attachment) error { return setBypass(cmd, list, false) }},
		{"status", "Show what the programs on the interfaces do", func(cmd *cobra.Command, list []*xsk.Attachment) error {
			return writeAttachments(forPeople(cmd), list)
		}},
	} {
		var bpffs string
		sub := &cobra.Command{
			Use: c.use + " [INTERFACE...]", Short: c.short, ValidArgsFunction: completeInterfaces,
			RunE: func(cmd *cobra.Command, args []string) error {
				list, err := attachments(bpffs, args)
				if err != nil {
					return err
				}
				return c.run(cmd, list)
			},
		}
		bpffsFlag(sub, &bpffs)
		cmd.AddCommand(sub)
	}
	return cmd
}

func newDetach() *cobra.Command {
	var bpffs string
	var force bool
	cmd := &cobra.Command{
		Use:   "detach [INTERFACE...]",
		Short: "Take the XDP programs of bridges off their interfaces",
		Long: `detach takes the programs off that a bridge leaves on its interfaces when the daemon ends, with all that is pinned and set for them.
Nothing crosses from then on. With INTERFACE it is for that interface and its peer, otherwise for all of this network namespace.

It refuses while a daemon reads the interfaces, and what it does not understand, unless --force is given. A daemon that reads one notices
within about a second, says so, and attaches its program again: stop it first. One that is started, or that a reload gives the sources
of the bridge again, attaches it, too.`,
		ValidArgsFunction: completeInterfaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := attachments(bpffs, args)
			if err != nil {
				return err
			}
			return detach(forPeople(cmd), list, force)
		},
	}
	bpffsFlag(cmd, &bpffs)
	cmd.Flags().BoolVar(&force, "force", false, "also while a daemon reads the interface, and what another version, or somebody else, has pinned")
	return cmd
}

func bpffsFlag(cmd *cobra.Command, bpffs *string) {
	cmd.Flags().StringVar(bpffs, "bpffs", xsk.DefaultBPFFS, "the BPF file system in which programs are pinned, as the option bpffs of the sources says")
}

func completeInterfaces(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return interfaceNames(), cobra.ShellCompDirectiveNoFileComp
}

// attachments returns the programs of the interfaces that are named, all if none is. It is an error if one that is named has none.
func attachments(bpffs string, names []string) ([]*xsk.Attachment, error) {
	list, err := xsk.Attachments(bpffs, names...)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 && len(list) == 0 {
		return nil, fmt.Errorf("no program of a bridge is pinned in %s for %q", bpffs, names)
	}
	return list, nil
}

func setBypass(cmd *cobra.Command, list []*xsk.Attachment, on bool) error {
	if len(list) == 0 {
		return errors.New("no program of a bridge is pinned: nothing goes past a daemon")
	}
	var errs []error
	for _, a := range list {
		errs = append(errs, a.SetBypass(on))
	}
	return errors.Join(append(errs, writeAttachments(forPeople(cmd), list))...)
}

func detach(w io.Writer, list []*xsk.Attachment, force bool) error {
	var errs []error
	for _, a := range list {
		name := a.Interface
		if name == "" {
			name = a.Pinned
		}
		if err := a.Remove(force); err != nil {
			if errors.Is(err, xsk.ErrInUse) {
				err = fmt.Errorf("%w: stop it first", err)
			}
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: the program is off, until a daemon opens the bridge again, at its start or by a reload\n", name); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// writeAttachments shows a table for people. What could not be read is the error.
func writeAttachments(w io.Writer, list []*xsk.Attachment) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no program of a bridge is pinned")
		return err
	}
	var errs []error
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "INTERFACE\tPEER\tDAEMON\tON FAILURE\tBYPASS\tWENT PAST\tDROPPED UNREAD\t")
	for _, a := range list {
		if a.Err != nil {
			errs = append(errs, a.Err)
			continue
		}
		daemon, bypass := "none", "off"
		if a.Read {
			daemon = "reads"
		}
		if a.Bypass {
			bypass = "on"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", orNone(a.Interface), orNone(a.Peer), daemon, a.OnFailure, bypass, a.Unread.PastSent, a.Unread.Dropped+a.Unread.PastNotSent)
	}
	return errors.Join(append(errs, t.Flush())...)
}

func orNone(name string) string {
	if name == "" {
		return "gone"
	}
	return name
}
