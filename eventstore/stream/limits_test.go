package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/stream"
)

func TestStreamOverItsLimitSaysSo(t *testing.T) {
	js, p := create(t)
	publish(t, p, msg("t.a", "1", 0))
	full := config()
	full.MaxMsgs = 1
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), msg("t.b", "2", 0)); stream.CodeOf(err) != stream.CodeStoreFailed {
		t.Errorf("over the stream's limit: %v, want %d", err, stream.CodeStoreFailed)
	}
	if _, err := p.PublishBatch(t.Context(), []*nats.Msg{msg("t.c", "3", 0), msg("t.d", "4", 0)}); stream.CodeOf(err) == 0 {
		t.Errorf("a batch over the stream's limit: %v, want an error of the server", err)
	}
	if info, err := stream.Info(t.Context(), js, name); err != nil || info.State.LastSeq != 1 {
		t.Errorf("something was stored: %+v, %v", info.State, err)
	}
}

func TestServerOverItsStorageSaysSo(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	_, p := createOn(t, natstest.Open(t, s.Addr().String()).Conn())
	for i := range 100 {
		m := msg("t.a", fmt.Sprint(i), -1)
		m.Data = make([]byte, 8<<10)
		_, err := p.Publish(t.Context(), m)
		switch stream.CodeOf(err) {
		case stream.CodeResources, stream.CodeAccountLimit:
			return
		case 0:
			if err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("over the server's storage: %v, want %d or %d", err, stream.CodeResources, stream.CodeAccountLimit)
		}
	}
	t.Error("the storage never ends")
}

// TestTwinOnItsWaySaysSo sends one message through many connections' worth of
// publishes at once to a replicated stream, until one hears that its twin is on
// its way. Every other answer is the stored one's, or that of a duplicate.
func TestTwinOnItsWaySaysSo(t *testing.T) {
	js := newJS(t, natstest.Open(t, natstest.Cluster(t)[0]).Conn())
	cfg := config()
	cfg.Replicas = 3
	if _, _, err := stream.Ensure(t.Context(), js, cfg, discard); err != nil {
		t.Fatal(err)
	}
	p, err := stream.NewPublisher(js.Conn())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inProcess := 0
	for round := 0; inProcess == 0; round++ {
		if ctx.Err() != nil {
			t.Fatalf("nobody heard of a twin in %d rounds", round)
		}
		type answer struct {
			ack stream.Ack
			err error
		}
		const twins = 16
		answers := make(chan answer, twins)
		for range twins {
			go func() {
				ack, err := p.Publish(ctx, msg("t.twin", fmt.Sprint("twin", round), -1))
				answers <- answer{ack, err}
			}()
		}
		stored := 0
		for range twins {
			a := <-answers
			switch {
			case stream.CodeOf(a.err) == stream.CodeInProcess:
				inProcess++
			case a.err == nil && !a.ack.Duplicate:
				stored++
			case a.err != nil && stream.CodeOf(a.err) != 0:
				t.Fatalf("round %d: %v", round, a.err)
			}
		}
		if stored > 1 {
			t.Fatalf("round %d: %d twins were stored", round, stored)
		}
	}
}
