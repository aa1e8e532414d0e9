package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
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

// maxStatus limits the bytes that are read of an answer.
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
	var unhealthy error
	if code != http.StatusOK {
		unhealthy = errors.New("not healthy: " + terminal.Text(strings.TrimSpace(string(health))))
	}
	if o.json {
		_, err = forPeople(cmd).Write(body)
	} else {
		err = st.WriteText(forPeople(cmd), address, unhealthy)
	}
	return errors.Join(err, unhealthy)
}

// statusAddress returns the address of the daemon and the bearer token, "" for none.
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
	// A missing file is an error only if the user has named it. Otherwise file holds the defaults.
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
