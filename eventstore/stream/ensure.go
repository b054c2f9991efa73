package stream

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// APITimeout bounds one call of the JetStream API.
const APITimeout = 5 * time.Second

// StartTimeout bounds how long [Ensure] and [Await] ask again: a cluster that
// has just started, or lost a leader, answers a while later.
const StartTimeout = 30 * time.Second

// Ensure creates the stream want, or compares it with the one that is there.
// Settings that can be raised without changing what is stored (replicas, the
// duplicate window, protections, direct and atomic access) are raised and
// logged; any other difference is an error of kind Refused, and nothing is
// changed. created says that the stream is new: its directories are then not yet durable.
func Ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, log *slog.Logger) (info *jetstream.StreamInfo, created bool, err error) {
	err = insist(ctx, func(ctx context.Context) error {
		info, err = Info(ctx, js, want.Name)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		created = true // also when only a later try hears of it
		info, err = create(ctx, js, want)
		if CodeOfClient(err) != CodeStreamNameInUse {
			return err
		}
		created = false // another instance was faster
		if info, err = Info(ctx, js, want.Name); errors.Is(err, jetstream.ErrStreamNotFound) {
			return errBeingMade
		}
		return err
	})
	if err != nil {
		return nil, false, domain.Errorf(domain.Unavailable, "open stream %s: %w", want.Name, err)
	}
	raised, changes, err := reconcile(&info.Config, &want)
	if err != nil || len(changes) == 0 {
		return info, created, err
	}
	err = insist(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, APITimeout)
		defer cancel()
		s, err := js.UpdateStream(ctx, raised)
		if err == nil {
			info = s.CachedInfo()
		}
		return err //nolint:wrapcheck // wrapped below
	})
	if err != nil {
		return nil, false, domain.Errorf(domain.Unavailable, "raise settings of stream %s (%s): %w", want.Name, strings.Join(changes, ", "), err)
	}
	log.WarnContext(ctx, "stream settings raised", "stream", want.Name, "settings", changes)
	return info, created, nil
}

// Await is [Info] that asks again, within [StartTimeout], while nobody can say.
func Await(ctx context.Context, js jetstream.JetStream, name string) (info *jetstream.StreamInfo, err error) {
	err = insist(ctx, func(ctx context.Context) error {
		info, err = Info(ctx, js, name)
		return err
	})
	return info, err
}

// insist calls f until it succeeds, fails for good, or [StartTimeout] has passed.
func insist(ctx context.Context, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	patience := APITimeout / 8 // a server without a leader never answers what it is asked
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		patience = min(2*patience, APITimeout)
		err := within(bounded, patience, f)
		if !passing(err) || bounded.Err() != nil || !sleep(bounded, wait) {
			return err
		}
	}
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// errBeingMade says that a name is taken and there is no stream yet.
var errBeingMade = errors.New("another client is making it")

// passing reports whether err may be gone in a moment: nobody answers, or the
// cluster says that it has no leader or too few servers yet.
func passing(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, errBeingMade) {
		return true
	}
	switch CodeOfClient(err) {
	case codeClusterIncomplete, codeNoPeers, codeClusterNotAvailable, codeNotLeader, codeStreamOffline:
		return true
	default:
		return false
	}
}

// Info is the stream's configuration and state; jetstream.ErrStreamNotFound
// when there is none.
func Info(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, APITimeout)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err //nolint:wrapcheck // callers compare and wrap it
	}
	return s.CachedInfo(), nil
}

func create(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, APITimeout)
	defer cancel()
	s, err := js.CreateStream(ctx, want)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller compares and wraps it
	}
	return s.CachedInfo(), nil
}

// CodeOfClient is the code of an error that the client library returned.
func CodeOfClient(err error) Code {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return Code(e.ErrorCode)
	}
	return 0
}

// reconcile is have with every safe setting raised to want's, and the names of
// those; any other difference is an error.
func reconcile(have, want *jetstream.StreamConfig) (jetstream.StreamConfig, []string, error) {
	if drift := differences(have, want); len(drift) > 0 {
		return *have, nil, domain.Errorf(domain.Refused,
			"stream %s is not as Comanda made it (%s): put these settings back, or use another server", want.Name, strings.Join(drift, "; "))
	}
	raised, changes := *have, []string(nil)
	raise := func(name string, higher bool, set func()) {
		if higher {
			set()
			changes = append(changes, name)
		}
	}
	raise("replicas", have.Replicas < want.Replicas, func() { raised.Replicas = want.Replicas })
	raise("duplicate_window", have.Duplicates < want.Duplicates, func() { raised.Duplicates = want.Duplicates })
	raise("deny_delete", !have.DenyDelete && want.DenyDelete, func() { raised.DenyDelete = true })
	raise("deny_purge", !have.DenyPurge && want.DenyPurge, func() { raised.DenyPurge = true })
	raise("allow_direct", !have.AllowDirect && want.AllowDirect, func() { raised.AllowDirect = true })
	raise("allow_atomic", !have.AllowAtomicPublish && want.AllowAtomicPublish, func() { raised.AllowAtomicPublish = true })
	return raised, changes, nil
}

// differences name what is not as wanted and cannot be raised. Compression,
// placement and description are the operator's; more replicas or a longer
// window than wanted are fine.
func differences(have, want *jetstream.StreamConfig) []string {
	var out []string
	differ := func(name string, same bool) {
		if !same {
			out = append(out, name)
		}
	}
	differ("subjects", slices.Equal(slices.Sorted(slices.Values(have.Subjects)), slices.Sorted(slices.Values(want.Subjects))))
	differ("storage", have.Storage == want.Storage)
	differ("retention", have.Retention == want.Retention)
	differ("discard", have.Discard == want.Discard && have.DiscardNewPerSubject == want.DiscardNewPerSubject)
	differ("max_msgs", limit(have.MaxMsgs) == limit(want.MaxMsgs))
	differ("max_bytes", limit(have.MaxBytes) == limit(want.MaxBytes))
	differ("max_msg_size", limit(int64(have.MaxMsgSize)) == limit(int64(want.MaxMsgSize)))
	differ("max_msgs_per_subject", limit(have.MaxMsgsPerSubject) == limit(want.MaxMsgsPerSubject))
	differ("max_age", have.MaxAge == want.MaxAge)
	differ("first_seq", have.FirstSeq <= 1)
	differ("no_ack", !have.NoAck)
	differ("sealed", !have.Sealed)
	differ("mirror or sources", have.Mirror == nil && len(have.Sources) == 0)
	differ("subject_transform", have.SubjectTransform == nil)
	differ("allow_rollup_hdrs", have.AllowRollup == want.AllowRollup)
	differ("allow_msg_ttl", !have.AllowMsgTTL && have.SubjectDeleteMarkerTTL == 0)
	differ("allow_msg_counter", !have.AllowMsgCounter)
	differ("allow_msg_schedules", have.AllowMsgSchedules == want.AllowMsgSchedules)
	differ("persist_mode", have.PersistMode == want.PersistMode)
	differ("metadata", maps.Equal(ownMetadata(have.Metadata), ownMetadata(want.Metadata)))
	return out
}

// limit gives the two spellings of "no limit" one value.
func limit(n int64) int64 { return max(n, 0) }

// ownMetadata leaves out what the server adds.
func ownMetadata(all map[string]string) map[string]string {
	own := make(map[string]string, len(all))
	for k, v := range all {
		if !strings.HasPrefix(k, "_nats.") {
			own[k] = v
		}
	}
	return own
}
