package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	comandafmt "comanda.internal/adapters/provider/comanda"
	"comanda.internal/adapters/provider/iset"
	"comanda.internal/adapters/provider/onprofit"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/adapters/provider/voxuy"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// triggerCmd posts one webhook as a platform would.
type triggerCmd struct {
	clientFlags

	Provider string `arg:"" help:"aprovei, vega, onprofit, voxuy, iset or comanda."`
	Status   string `arg:"" optional:"" help:"One of the provider's own statuses; none: list them."`

	Order     string `help:"The provider's own id of the order; none: a new one."`
	Reference string `help:"The merchant's code for the purchase; none: made from the order."`
	Source    string `help:"The source to post to; none: the configuration's first of the provider."`
	Config    string `help:"Configuration file with the source's token; none: the demo's in the data directory." type:"path"`
	Show      bool   `help:"Print the body instead of posting it."`
}

// platform writes the synthetic webhooks of one provider.
type platform struct {
	statuses func() []string
	sample   func(sample.Options) (body []byte, action string, err error)
}

// platforms are the providers that trigger can be, by their names.
func platforms() map[string]platform {
	return map[string]platform{
		"aprovei":  {aprovei.SampleStatuses, aprovei.Sample},
		"vega":     {aprovei.SampleVegaStatuses, aprovei.SampleVega},
		"onprofit": {onprofit.SampleStatuses, onprofit.Sample},
		"voxuy":    {voxuy.SampleStatuses, voxuy.Sample},
		"iset":     {iset.SampleStatuses, iset.Sample},
		"comanda":  {comandafmt.SampleStatuses, comandafmt.Sample},
	}
}

// samplePlatform is the platform of a provider's name.
func samplePlatform(name string) (platform, error) {
	p, ok := platforms()[name]
	if !ok {
		return platform{}, usagef("provider %q: want one of %s", name, strings.Join(slices.Sorted(maps.Keys(platforms())), ", "))
	}
	return p, nil
}

// Run builds the body, posts it, and prints the answer once the views have it.
func (c *triggerCmd) Run(ctx context.Context, out *stdio) error {
	p, err := samplePlatform(c.Provider)
	if err != nil {
		return err
	}
	if c.Status == "" {
		_, err := fmt.Fprintln(out.out, strings.Join(p.statuses(), "\n"))
		return err
	}
	options := sample.Options{Status: c.Status, OrderID: c.Order, Reference: c.Reference, At: out.now().UTC().Truncate(time.Second)}
	if options.OrderID == "" {
		options.OrderID = strconv.FormatInt(out.now().UnixMicro(), 10)
	}
	ctx, cancel := c.unary(ctx)
	defer cancel()
	if c.Show {
		body, _, err := p.sample(options)
		if err != nil {
			return usagef("%v", err)
		}
		_, err = fmt.Fprintf(out.out, "%s\n", body)
		return err
	}
	source, err := c.source()
	if err != nil {
		return err
	}
	answer, position, err := c.send(ctx, p, source, options)
	if err != nil {
		return err
	}
	c.awaitView(ctx, position)
	_, err = fmt.Fprintf(out.out, "%s\n", bytes.TrimSpace(answer))
	return err
}

// send posts the message of options, with the dates that the order's earlier
// messages had, as its platform would.
func (c *triggerCmd) send(ctx context.Context, p platform, source *sourceConfig, options sample.Options) (answer []byte, position string, err error) {
	body, action, err := p.sample(options)
	if err != nil {
		return nil, "", usagef("%v", err)
	}
	if c.remember(ctx, source, action, body, &options) {
		if body, action, err = p.sample(options); err != nil {
			return nil, "", err
		}
	}
	target, err := c.target(source, action)
	if err != nil {
		return nil, "", err
	}
	return c.post(ctx, target, source, body)
}

// openedBefore is how long before an order's first known date it was begun.
const openedBefore = 3 * time.Minute

// remember fills options with the dates of the order that body is about, as far
// as the server knows them. It is a kindness: without a history nothing changes.
func (c *triggerCmd) remember(ctx context.Context, source *sourceConfig, action string, body []byte, options *sample.Options) bool {
	codec, err := source.codec()
	if err != nil {
		return false
	}
	facts, err := codec.Decode(domain.Message{
		Source: source.ID, Tenant: source.Tenant, Account: source.Account, Action: action, Body: body, ReceivedAt: options.At,
	})
	if err != nil {
		return false
	}
	fact := facts[len(facts)-1]
	dates := c.dates(ctx, fact.Identity(source.Tenant).OrderID())
	if len(dates) == 0 {
		return false
	}
	options.CreatedAt, options.ApprovedAt = dates[domain.KindPending], dates[domain.KindApproved]
	if at, known := dates[fact.Kind]; known {
		options.At = at
	} else if fact.Kind <= domain.KindPending {
		options.At = slices.MinFunc(slices.Collect(maps.Values(dates)), time.Time.Compare).Add(-openedBefore)
	}
	return true
}

// dates are the provider's dates of an order's facts, by kind, the first of each.
func (c *triggerCmd) dates(ctx context.Context, id domain.OrderID) map[domain.Kind]time.Time {
	var history *comandav1.GetOrderHistoryResponse
	err := c.with(func(conn *grpc.ClientConn) (err error) {
		history, err = comandav1.NewOrderServiceClient(conn).GetOrderHistory(ctx, &comandav1.GetOrderHistoryRequest{OrderId: string(id)})
		return err
	})
	if err != nil {
		return nil
	}
	dates := map[domain.Kind]time.Time{}
	for _, e := range history.GetEvents() {
		kind, _ := wire.FromKind(e.GetKind())
		if _, known := dates[kind]; !known && !e.GetTimeInferred() {
			dates[kind] = wire.FromTime(e.GetEffectiveAt())
		}
	}
	return dates
}

// source is the configured source to post to.
func (c *triggerCmd) source() (*sourceConfig, error) {
	path := c.Config
	if path == "" {
		path = filepath.Join(c.DataDir, demoFile)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	want, ok := provider.Canonical(c.Provider)
	if !ok {
		return nil, usagef("provider %q: not one that Comanda knows", c.Provider)
	}
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		name, _ := provider.Canonical(s.Provider)
		if c.Source == string(s.ID) || c.Source == "" && name == want {
			return s, nil
		}
	}
	return nil, domain.Errorf(domain.NotFound, "%s has no source %s of provider %s", path, c.Source, c.Provider)
}

func (c *triggerCmd) target(source *sourceConfig, action string) (string, error) {
	a, err := readAddresses(c.DataDir)
	if err != nil {
		return "", err
	}
	if a.HTTP == "" {
		return "", domain.Errorf(domain.Unavailable, "the server on %s has no HTTP listener (--http none)", c.DataDir)
	}
	path := "/webhooks/" + string(source.ID)
	if action != "" {
		path += "/" + url.PathEscape(action)
	}
	return "http://" + a.HTTP + path, nil
}

// post sends body with the source's token, and answers with the server's answer.
func (c *triggerCmd) post(ctx context.Context, target string, source *sourceConfig, body []byte) (answer []byte, position string, err error) {
	if source.Auth.Type != webhook.AuthToken || len(source.Auth.Tokens) == 0 {
		return nil, "", usagef("source %s: trigger can send a token, not %s", source.ID, source.Auth.Type)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+source.Auth.Tokens[0].Reveal())
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		return nil, "", domain.Errorf(domain.Unavailable, "post the webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return nil, "", domain.Errorf(domain.Unavailable, "read the answer: %w", err)
	}
	switch {
	case response.StatusCode < http.StatusMultipleChoices:
		return answer, response.Header.Get(webhook.PositionHeader), nil
	case response.StatusCode == http.StatusServiceUnavailable, response.StatusCode == http.StatusTooManyRequests:
		return nil, "", domain.Errorf(domain.Unavailable, "the server answers %s: %s", response.Status, answer)
	default:
		return nil, "", fmt.Errorf("the server answers %s: %s", response.Status, answer)
	}
}

// awaitView waits until a command that reads orders sees what was posted. It is
// a kindness: the answer stands without it.
func (c *triggerCmd) awaitView(ctx context.Context, position string) {
	if position == "" {
		return
	}
	_ = c.with(func(conn *grpc.ClientConn) error {
		_, err := comandav1.NewOrderServiceClient(conn).ListOrders(ctx, &comandav1.ListOrdersRequest{PageSize: 1, MinPosition: position})
		return err
	})
}
