package checkout

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
)

// work does one job: make it durable, say what became of it, acknowledge it. A
// job that was begun is finished although ctx ends meanwhile.
func (c *Checkout) work(ctx context.Context, j *job) {
	if ctx.Err() != nil {
		j.msg.Nak() //nolint:errcheck,gosec // AckWait gives it back as well
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.RecordTimeout)
	defer cancel()
	if j.tooLarge {
		c.refuse(ctx, j)
		return
	}
	receipt, err := c.commit(ctx, j)
	if err == nil {
		c.away.Store(false)
		err = c.publish(c.js.Conn(), j, receipt.AppendMembers)
	}
	if err != nil {
		c.tryAgain(ctx, j, err)
		return
	}
	c.acknowledge(ctx, j)
	c.metrics.accepted.Inc()
}

// confirmWait bounds the wait for an acknowledgement's own acknowledgement: it
// never comes when the consumer was deleted, and the lane waits meanwhile.
const confirmWait = 2 * time.Second

// acknowledge says that j is done, after its outcome and on the same connection, and waits
// until the server knows: what is done is then removed before this process ends. The
// server writes it down within a tenth of a second (nats-server 2.15, server/filestore.go,
// consumerFileStore.flushLoop): after a crash the message may come again, and is then a duplicate.
func (c *Checkout) acknowledge(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmWait)
	defer cancel()
	if err := j.msg.DoubleAck(ctx); err != nil {
		c.logger.WarnContext(ctx, "acknowledgement not confirmed", "source", string(j.source), "sequence", j.sequence, "error", err)
	}
	c.sweeps.due.Store(true)
}

func (c *Checkout) commit(ctx context.Context, j *job) (intake.Receipt, error) {
	if j.decoded == nil {
		token := string(j.source)
		return c.intake.AcceptUnknown(ctx, token, contentType(j.header), j.body, j.received, j.cause)
	}
	receipt, err := c.intake.Commit(ctx, j.decoded)
	if err == nil || domain.KindOf(err) == domain.Unavailable || j.tries < uint64(c.cfg.MaxTries) { //nolint:gosec // validated: not negative
		return receipt, err
	}
	c.logger.ErrorContext(ctx, "message given up, and quarantined", "source", string(j.source), "sequence", j.sequence, "tries", j.tries, "error", err)
	return c.intake.GiveUp(ctx, j.decoded)
}

// refuse answers a body over the limit as HTTP's 413 does: nothing is kept. The
// stream's own limit stops most of them at the sender.
func (c *Checkout) refuse(ctx context.Context, j *job) {
	err := c.publish(c.js.Conn(), j, func(b []byte) []byte { return append(b, `"outcome":"refused","reason":"too_large"`...) })
	if err != nil {
		c.tryAgain(ctx, j, err)
		return
	}
	if err := j.msg.TermWithReason("too large"); err != nil {
		c.logger.WarnContext(ctx, "refusal not confirmed", "source", string(j.source), "sequence", j.sequence, "error", err)
	}
	c.sweeps.due.Store(true)
	c.metrics.refused.Inc()
}

// publish sends the outcome with the message's own id and trace.
func (c *Checkout) publish(conn *nats.Conn, j *job, appendMembers func([]byte) []byte) error {
	b := append(make([]byte, 0, outcomeSize), `{"message_id":`...)
	b, _ = jsontext.AppendQuote(b, j.id) // the error only reports what is not UTF-8
	b = append(b, `,"sequence":`...)
	b = strconv.AppendUint(b, j.sequence, 10)
	b = append(b, ',')
	b = append(appendMembers(b), '}')

	msg := nats.NewMsg(outcomePrefix + string(j.source))
	msg.Data = b
	msg.Header.Set("Content-Type", defaultContentType)
	mark(msg.Header, j.id, &j.cause)
	if err := conn.PublishMsg(msg); err != nil {
		return domain.Errorf(domain.Unavailable, "publish the outcome: %w", err)
	}
	return nil
}

// outcomeSize holds the outcome of one fact.
const outcomeSize = 384

// tryAgain gives the message back for later.
func (c *Checkout) tryAgain(ctx context.Context, j *job, err error) {
	level := slog.LevelError
	if domain.KindOf(err) == domain.Unavailable {
		level = slog.LevelWarn
	}
	delay := c.delay(j.tries)
	c.sweeps.hold(delay)
	c.logger.Log(ctx, level, "message not accepted, will try again",
		"source", string(j.source), "sequence", j.sequence, "tries", j.tries, "delay", delay, "error", err)
	c.metrics.retried.Inc()
	j.msg.NakWithDelay(delay) //nolint:errcheck,gosec // AckWait gives it back as well
}

// delay doubles from RetryDelay with every try, up to MaxRetryDelay.
func (c *Checkout) delay(tries uint64) time.Duration {
	delay := c.cfg.RetryDelay
	for ; tries > 1 && delay < c.cfg.MaxRetryDelay; tries-- {
		delay *= 2
	}
	return min(delay, c.cfg.MaxRetryDelay)
}
