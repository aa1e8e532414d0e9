package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rtflow/pipelined/internal/options"
)

// recordTries is how often a record is produced before the broker's refusal ends the run. Between them the client waits
// longer and longer, up to 5 s: enough for a partition to get another leader.
const recordTries = 8

// metadataAge is how often the client may ask who leads a partition; with the library's 5 s a new leader is found late.
const metadataAge = 500 * time.Millisecond

// connect makes the client of a run and sees that a broker answers.
func (k *Sink) connect(ctx context.Context) (*kgo.Client, error) {
	opts, err := k.clientOptions(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	ping, cancel := context.WithTimeout(ctx, k.table.ConnectTimeout)
	defer cancel()
	if err := client.Ping(ping); err != nil {
		client.Close()
		return nil, k.because(fmt.Errorf("no broker of %s answers: %w", strings.Join(k.table.Brokers, ", "), err))
	}
	return client, nil
}

func (k *Sink) clientOptions(ctx context.Context) ([]kgo.Opt, error) {
	t := &k.table
	compress, _ := codec(t.Compression)
	opts := []kgo.Opt{
		kgo.WithContext(ctx),
		kgo.SeedBrokers(t.Brokers...),
		kgo.ClientID("pipelined-" + string(escape(nil, k.host)) + "-" + k.name),
		kgo.WithHooks(&k.hooks),
		kgo.DisableClientMetrics(),
		kgo.DialTimeout(t.ConnectTimeout),
		kgo.MetadataMinAge(metadataAge),
		kgo.RequestTimeoutOverhead(t.AckTimeout / 3),
		kgo.ProduceRequestTimeout(t.AckTimeout / 3),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.RecordRetries(recordTries),
		kgo.ProducerBatchCompression(compress),
		kgo.ProducerBatchMaxBytes(int32(k.batchSize())),
		kgo.ProducerLinger(t.Linger),
		kgo.MaxBufferedRecords(t.MaxInFlight + 1),
	}
	if t.CreateTopics {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	if t.TLS != nil {
		c, err := t.TLS.Config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if t.SASL != nil {
		password, err := options.Secret(t.SASL.Password, t.SASL.PasswordFile)
		if err != nil {
			return nil, err
		}
		mechanism, _ := t.SASL.mechanism(password)
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// hooks hears what the client would keep to itself.
type hooks struct {
	mu          sync.Mutex
	connects    uint64
	disconnects uint64
	lastError   error // of the last connection that was tried
}

var (
	_ kgo.HookBrokerConnect    = (*hooks)(nil)
	_ kgo.HookBrokerDisconnect = (*hooks)(nil)
)

// OnBrokerConnect implements [kgo.HookBrokerConnect].
func (h *hooks) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastError = err
	if err == nil {
		h.connects++
	}
}

// OnBrokerDisconnect implements [kgo.HookBrokerDisconnect].
func (h *hooks) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disconnects++
}

// because adds to an error why the last connection failed, if that is not what it says.
func (k *Sink) because(err error) error {
	k.hooks.mu.Lock()
	defer k.hooks.mu.Unlock()
	if last := k.hooks.lastError; last != nil && !errors.Is(err, last) {
		return fmt.Errorf("%w (%w)", err, last)
	}
	return err
}
