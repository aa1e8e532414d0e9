package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/control"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/internal/terminal"
)

type statusOptions struct {
	daemonFlags

	address, tokenFile string
	json               bool
}

func newStatus() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a running pipeline is doing",
		Long: `status asks a running pipelined for its status, at its control socket, and prints sources, sinks and the ledger. Where it has
none, or this user may not connect, it is asked at the address that service.metrics of the configuration names. The exit status is 1 if
it cannot be reached or is not healthy.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return status(cmd, o) },
	}
	o.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.address, "address", "a", "", "`HOST:PORT` to ask over HTTP, instead of the control socket")
	f.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token to bring, instead of what the configuration says")
	f.BoolVar(&o.json, "json", false, "print the status as the JSON it comes as")
	return cmd
}

// maxStatus limits the bytes that are read of an answer.
const maxStatus = 64 << 20

func status(cmd *cobra.Command, o statusOptions) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
	defer cancel()
	at, ask, err := o.asks(ctx, cmd)
	if err != nil {
		return err
	}
	code, body, err := ask("/status")
	if err != nil {
		return err
	}
	var st pipeline.Status
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	switch {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("what answers at %s wants another token: see service.metrics_token of its configuration, or give --token-file", at)
	case code == http.StatusForbidden:
		return fmt.Errorf("%s: %s", at, terminal.Text(control.Refusal(code, body)))
	case code != http.StatusOK || dec.Decode(&st) != nil || st.Epoch == 0:
		return fmt.Errorf("what answers at %s is no pipelined (HTTP status %d)", at, code)
	}
	code, health, err := ask("/healthz?strict")
	if err != nil {
		return err
	}
	var unhealthy error
	if code != http.StatusOK {
		unhealthy = errors.New("not healthy: " + terminal.Text(strings.ReplaceAll(strings.TrimSpace(string(health)), "\n", "; ")))
	}
	if o.json {
		_, err = forPeople(cmd).Write(body)
	} else {
		err = st.WriteText(forPeople(cmd), at, unhealthy)
	}
	return errors.Join(err, unhealthy)
}

// asking fetches a page of a daemon.
type asking func(target string) (code int, body []byte, err error)

// asks returns where the daemon is asked, and how: at its control socket, else over HTTP.
func (o *statusOptions) asks(ctx context.Context, cmd *cobra.Command) (at string, ask asking, err error) {
	if o.address != "" {
		if _, _, err := net.SplitHostPort(o.address); err != nil {
			return "", nil, &usageError{fmt.Errorf("--address: must be host:port such as 127.0.0.1:9464, not %q", o.address)}
		}
		var token string
		if o.tokenFile != "" {
			given := config.Service{TokenFile: o.tokenFile}
			if token, err = given.Token(); err != nil {
				return "", nil, fmt.Errorf("--token-file: %w", err)
			}
		}
		return o.address, overHTTP(ctx, o.address, token, nil), nil
	}
	client, file, err := o.find(ctx, cmd)
	if err == nil {
		if _, err = client.Daemon(ctx); err == nil || file == nil {
			return client.Path(), func(target string) (int, []byte, error) { return client.Get(ctx, target) }, nil
		}
	}
	if file == nil {
		return "", nil, err
	}
	if file.Service.Metrics == "" {
		return "", nil, fmt.Errorf("no pipelined can be asked: %w; and service.metrics of %s is empty", err, o.config)
	}
	service := file.Service
	if o.tokenFile != "" {
		service.TokenFile = o.tokenFile
	}
	token, tokenErr := service.Token()
	if tokenErr != nil {
		return "", nil, fmt.Errorf("service.metrics_token_file: %w", tokenErr)
	}
	return service.Metrics, overHTTP(ctx, service.Metrics, token, err), nil
}

// overHTTP asks at an address. noSocket is why the control socket was not asked, nil if it was not wanted.
func overHTTP(ctx context.Context, address, token string, noSocket error) asking {
	return func(target string) (int, []byte, error) {
		code, body, err := get(ctx, "http://"+address+target, token)
		if unreachable, ok := errors.AsType[net.Error](err); ok {
			err = fmt.Errorf("no pipelined can be reached at %s: is it running, and is this its service.metrics? (%w)", address, unreachable)
			if noSocket != nil {
				err = fmt.Errorf("%w; nor at a control socket: %w", err, noSocket)
			}
			return 0, nil, err
		}
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", address, err)
		}
		return code, body, nil
	}
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
