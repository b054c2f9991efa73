package privacy

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// Bucket is the KV bucket that holds the wrapped data keys.
const Bucket = "KEYS"

// BucketStream is the bucket's stream.
const BucketStream = "KV_" + Bucket

const (
	bucketSubject = "$KV." + Bucket + "."
	metaMaster    = "comanda-kek"
)

// Config says where keys live. KeyFile is required.
type Config struct {
	// KeyFile holds the key-encryption key; it is created, with mode 0600, when
	// there is none and the bucket is new.
	KeyFile string
	// Replicas of the bucket; 0 is 1.
	Replicas int
	// PoolSize is how many data keys are kept ahead; 0 is 1024.
	PoolSize int
	// Wait is how long Take waits for an empty pool; 0 is 2 s.
	Wait time.Duration
	// CacheSize is how many opened keys of stored orders are remembered; 0 is 10,000.
	CacheSize int

	// Existing only looks: what is not there is an error, nothing is made, Run does
	// nothing, and Take finds nothing.
	Existing bool

	// AfterCreate runs when the bucket was created (natsnode's SyncDirs); nil: nothing.
	AfterCreate func() error
	Logger      *slog.Logger          // nil discards
	Registerer  prometheus.Registerer // nil: no metrics
}

func (c *Config) setDefaults() {
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.PoolSize == 0 {
		c.PoolSize = 1024
	}
	if c.Wait == 0 {
		c.Wait = 2 * time.Second
	}
	if c.CacheSize == 0 {
		c.CacheSize = 10_000
	}
	if c.AfterCreate == nil {
		c.AfterCreate = func() error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate joins every mistake of c.
func (c *Config) Validate() error {
	var mistakes []error
	if c.KeyFile == "" {
		mistakes = append(mistakes, errors.New("the key-encryption key needs a file"))
	}
	if c.Replicas < 0 || c.PoolSize < 0 || c.CacheSize < 0 || c.Wait < 0 {
		mistakes = append(mistakes, errors.New("replicas, pool size, cache size and wait are not negative"))
	}
	return errors.Join(mistakes...)
}

// Vault makes, keeps and finds data keys. Its Run fills the pool; without it
// Take finds nothing. It is safe for concurrent use.
type Vault struct {
	cfg       Config
	master    *master // nil: disabled
	reader    *stream.Reader
	publisher *stream.Publisher
	cache     *keyCache

	pool  chan *Key
	want  chan struct{} // a key was taken
	ready chan struct{}
}

// Open finds or makes the bucket and the key-encryption key. A missing key file
// beside a bucket that holds keys is an error: a new one could open none of them.
func Open(ctx context.Context, conn *nats.Conn, cfg Config) (*Vault, error) {
	if err := cfg.Validate(); err != nil {
		return nil, domain.Errorf(domain.Invalid, "sealing: %w", err)
	}
	cfg.setDefaults()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "open the key bucket: %w", err)
	}
	if cfg.Existing {
		return openExisting(ctx, js, cfg)
	}
	m, err := openMaster(ctx, js, cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	_, created, err := stream.Ensure(ctx, js, bucketConfig(cfg.Replicas, m.name()), cfg.Logger)
	if err != nil {
		return nil, err
	}
	if created {
		if err := cfg.AfterCreate(); err != nil {
			return nil, domain.Errorf(domain.Unavailable, "create the key bucket: %w", err)
		}
	}
	publisher, err := stream.NewPublisher(conn)
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "open the key bucket: %w", err)
	}
	v := &Vault{
		cfg: cfg, master: m, publisher: publisher,
		reader: stream.NewReader(js, BucketStream, cfg.Logger),
		cache:  newKeyCache(cfg.CacheSize),
		pool:   make(chan *Key, cfg.PoolSize),
		want:   make(chan struct{}, 1),
		ready:  make(chan struct{}),
	}
	return v, v.register()
}

// openExisting holds the key file to the bucket: with a wrong one every order would look
// broken, and without a bucket every person erased.
func openExisting(ctx context.Context, js jetstream.JetStream, cfg Config) (*Vault, error) {
	m, err := loadMaster(cfg.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, domain.Errorf(domain.NotFound, "there is no key-encryption key at %s", cfg.KeyFile)
	}
	if err != nil {
		return nil, err
	}
	info, err := stream.Await(ctx, js, BucketStream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, domain.Errorf(domain.NotFound, "there is no bucket %s of data keys", Bucket)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "open the key bucket: %w", err)
	case info.Config.Metadata[metaMaster] != m.name():
		return nil, domain.Errorf(domain.Refused, "%s holds key-encryption key %s; bucket %s was made with %s",
			cfg.KeyFile, m.name(), Bucket, info.Config.Metadata[metaMaster])
	}
	v := &Vault{
		cfg: cfg, master: m, reader: stream.NewReader(js, BucketStream, cfg.Logger), cache: newKeyCache(cfg.CacheSize),
		pool: make(chan *Key), want: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	return v, v.register()
}

// Disabled is a vault that seals nothing: what it stores is in the clear and
// marked so. For benchmarks and for proving that a search for leaks works.
func Disabled() *Vault {
	ready := make(chan struct{})
	close(ready)
	return &Vault{ready: ready}
}

func (v *Vault) register() error {
	if v.cfg.Registerer == nil {
		return nil
	}
	level := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "comanda_privacy_pool_keys", Help: "Data keys made ahead and not yet used.",
	}, func() float64 { return float64(len(v.pool)) })
	if err := v.cfg.Registerer.Register(level); err != nil {
		return domain.Errorf(domain.Internal, "register metrics: %w", err)
	}
	return nil
}

// openMaster loads the key file, or makes it unless the bucket has keys already.
func openMaster(ctx context.Context, js jetstream.JetStream, path string) (*master, error) {
	m, err := loadMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	switch info, err := stream.Await(ctx, js, BucketStream); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return makeMaster(path)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "open the key bucket: %w", err)
	default:
		return nil, domain.Errorf(domain.Refused,
			"key-encryption key %s is missing, and bucket %s was made with key %s: put that file back", path, Bucket, info.Config.Metadata[metaMaster])
	}
}

// bucketConfig is that of a KV bucket with history 1 (nats.go, jetstream/kv.go,
// prepareKeyValueConfig), and atomic batches beside it.
func bucketConfig(replicas int, master string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               BucketStream,
		Description:        "data keys of orders, wrapped",
		Subjects:           []string{bucketSubject + ">"},
		MaxMsgsPerSubject:  1,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         2 * time.Minute,
		AllowRollup:        true,
		DenyDelete:         true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{metaMaster: master},
	}
}

// Ready is closed when the pool first holds keys.
func (v *Vault) Ready() <-chan struct{} { return v.ready }

// Take is a data key for a new order, which nobody else has; Return gives it
// back. Waiting for an empty pool ends, after a while or with ctx, in an error of kind Unavailable.
func (v *Vault) Take(ctx context.Context) (*Key, error) {
	if v.master == nil {
		return &Key{}, nil
	}
	select {
	case k := <-v.pool:
		return v.taken(k), nil
	default:
	}
	timer := time.NewTimer(v.cfg.Wait)
	defer timer.Stop()
	select {
	case k := <-v.pool:
		return v.taken(k), nil
	case <-timer.C:
		return nil, domain.Errorf(domain.Unavailable, "no data key within %s", v.cfg.Wait)
	case <-ctx.Done():
		return nil, domain.Errorf(domain.Unavailable, "wait for a data key: %w", ctx.Err())
	}
}

// taken remembers k for who opens what is about to be sealed with it.
func (v *Vault) taken(k *Key) *Key {
	v.refill()
	v.cache.put(k)
	return k
}

// Return gives back a key of Take that no publish has carried.
func (v *Vault) Return(k *Key) {
	if k.aead == nil {
		return
	}
	select {
	case v.pool <- k:
	default: // the pool was filled meanwhile; the key is never used
	}
}

// Key is the data key with this id, of an order that is stored. NotFound says
// that it was destroyed: the person was erased.
func (v *Vault) Key(ctx context.Context, id string) (*Key, error) {
	if id == "" {
		return &Key{}, nil
	}
	if v.master == nil {
		return nil, domain.Errorf(domain.Unavailable, "data key %s: sealing is off in this process", id)
	}
	if k, ok := v.cache.get(id); ok {
		return k, nil
	}
	// Through the leader: a key may be younger than a replica's answer.
	m, err := v.reader.Last(ctx, bucketSubject+id)
	switch {
	case errors.Is(err, stream.ErrNotFound) || err == nil && len(m.Data) == 0:
		return nil, domain.Errorf(domain.NotFound, "data key %s is not in bucket %s", id, Bucket)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "read data key %s: %w", id, err)
	}
	k, err := v.master.unwrap(id, m.Data)
	if err != nil {
		return nil, err
	}
	v.cache.put(k)
	return k, nil
}
