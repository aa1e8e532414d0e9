package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/internal/terminal"
)

type statusOptions struct {
	config, address, tokenFile string
	json                       bool
}

func newStatus() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a running pipeline is doing",
		Long: `status asks a running pipelined for its status, at the address that service.metrics of the configuration names, and prints
sources, sinks and the ledger. The exit status is 1 if it cannot be reached or is not healthy.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return status(cmd, o) },
	}
	configFlag(cmd, &o.config)
	f := cmd.Flags()
	f.StringVarP(&o.address, "address", "a", "", "`HOST:PORT` to ask, instead of what the configuration says")
	f.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token to bring, instead of what the configuration says")
	f.BoolVar(&o.json, "json", false, "print the status as the JSON it comes as")
	return cmd
}

// maxStatus bounds what is read of an answer.
const maxStatus = 64 << 20

func status(cmd *cobra.Command, o statusOptions) error {
	address, token, err := statusAddress(cmd, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
	defer cancel()
	code, body, err := get(ctx, "http://"+address+"/status", token)
	var unreachable net.Error
	switch {
	case errors.As(err, &unreachable):
		return fmt.Errorf("no pipelined can be reached at %s: is it running, and is this its service.metrics? (%w)", address, unreachable)
	case err != nil:
		return fmt.Errorf("%s: %w", address, err)
	}
	if code == http.StatusUnauthorized {
		return fmt.Errorf("what answers at %s wants another token: see service.metrics_token of its configuration, or give --token-file", address)
	}
	var st pipeline.Status
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if code != http.StatusOK || dec.Decode(&st) != nil || st.Epoch == 0 {
		return fmt.Errorf("what answers at %s is no pipelined (HTTP status %d)", address, code)
	}
	code, health, err := get(ctx, "http://"+address+"/healthz?strict", token)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	var sick error
	if code != http.StatusOK {
		sick = errors.New("not healthy: " + terminal.Text(strings.TrimSpace(string(health))))
	}
	if o.json {
		_, err = forPeople(cmd).Write(body)
	} else {
		err = writeStatus(forPeople(cmd), address, &st, sick)
	}
	return errors.Join(err, sick)
}

// statusAddress returns where to ask, and the token to bring, "" for none.
func statusAddress(cmd *cobra.Command, o statusOptions) (address, token string, err error) {
	if o.tokenFile != "" {
		given := config.Service{TokenFile: o.tokenFile}
		if token, err = given.Token(); err != nil {
			return "", "", fmt.Errorf("--token-file: %w", err)
		}
	}
	if o.address != "" {
		if _, _, err := net.SplitHostPort(o.address); err != nil {
			return "", "", &usageError{fmt.Errorf("--address: must be host:port such as 127.0.0.1:9464, not %q", o.address)}
		}
		return o.address, token, nil
	}
	// A missing file matters only if the user has named it: what is read of none is the default.
	_, err = os.Stat(o.config)
	file, problems := config.Load(o.config)
	if problems.Err() != nil && (!errors.Is(err, fs.ErrNotExist) || cmd.Flags().Changed("config")) {
		for _, problem := range problems.All() {
			fmt.Fprintln(cmd.ErrOrStderr(), problem)
		}
		return "", "", errors.New("the address is not known: mend the configuration, or give --address")
	}
	if file.Service.Metrics == "" {
		return "", "", fmt.Errorf("%s: service.metrics is empty: this pipelined tells no status", o.config)
	}
	if o.tokenFile == "" {
		if token, err = file.Service.Token(); err != nil {
			return "", "", fmt.Errorf("%s: service.metrics_token_file: %w", o.config, err)
		}
	}
	return file.Service.Metrics, token, nil
}

// get fetches a page. An error of the network is a [net.Error].
func get(ctx context.Context, url, token string) (code int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is another process of this host
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	return resp.StatusCode, body, err
}

// writeStatus writes a status for people.
func writeStatus(w io.Writer, address string, st *pipeline.Status, sick error) error {
	health := "healthy"
	if sick != nil {
		health = sick.Error()
	}
	uptime := time.Duration(st.Uptime * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(w, "pipelined at %s: %s, up %s, epoch %d\n\n", address, health, uptime, st.Epoch)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(st.Sources)) {
		fmt.Fprintf(t, "source %s\t%s\n", terminal.Text(name), scalars(st.Sources[name]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	names := slices.Sorted(maps.Keys(st.Sinks))
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "sink\tphase\tsent\tacked\tin flight\tlag records\tlag seconds\truns\t\n")
	for _, name := range names {
		s := st.Sinks[name]
		phase := s.Phase
		if phase == deliver.Running && !s.Up {
			phase = "waiting" // for its destination
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%.1f\t%d\t\n", terminal.Text(name), terminal.Text(string(phase)), s.Sent, s.Acked, s.InFlight, s.LagRecords, s.LagSeconds, s.Runs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range names {
		s := st.Sinks[name]
		name := terminal.Text(name)
		if detail := scalars(s.Detail); detail != "" {
			fmt.Fprintf(w, "sink %s: %s\n", name, detail)
		}
		if counters := nonZero(s.Counters); counters != "" {
			fmt.Fprintf(w, "sink %s: %s\n", name, counters)
		}
		if s.LastError != "" {
			fmt.Fprintf(w, "sink %s: last error at %s: %s\n", name, s.ErrorAt.Format(time.RFC3339), terminal.Text(s.LastError))
		}
		if s.Rejects > 0 {
			fmt.Fprintf(w, "sink %s: rejected %d records, the last: %s\n", name, s.Rejects, terminal.Text(s.LastReject))
		}
	}
	fmt.Fprintln(w)
	return st.Ledger.WriteText(w, kindNames())
}

// nonZero returns the counters that have counted something.
func nonZero(counters map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if n := counters[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", terminal.Text(name), n))
		}
	}
	return strings.Join(parts, " ")
}

// scalars returns the members of a JSON object that are not empty, but for objects and for arrays of anything but strings.
func scalars(object any) string {
	members, ok := object.(map[string]any)
	if !ok {
		return ""
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(members)) {
		switch v := members[key].(type) {
		case string:
			if v != "" {
				parts = append(parts, terminal.Text(key)+"="+terminal.Word(v))
			}
		case json.Number, bool:
			parts = append(parts, fmt.Sprintf("%s=%v", terminal.Text(key), v))
		case []any:
			for _, element := range v {
				if text, ok := element.(string); ok {
					parts = append(parts, terminal.Text(key)+"="+terminal.Word(text))
				}
			}
		}
	}
	return strings.Join(parts, " ")
}
