package checkout

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// ServiceSubjects are those on which requests come. No stream may have a subject in
// common with them: it would store every request, and its acknowledgement would be
// taken for the answer.
func ServiceSubjects() []string {
	return []string{recordPrefix + "*", getPrefix + "*", waitPrefix + "*", frontPrefix + "*", "$SRV.>"}
}

// apiWait bounds a question to the server.
const apiWait = 5 * time.Second

// CheckOverlap is an error of kind Refused when a stream of js's account stores
// what is asked of the service.
func CheckOverlap(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, apiWait)
	defer cancel()
	streams := js.ListStreams(ctx)
	var found *domain.Error
	for info := range streams.Info() {
		for _, stored := range info.Config.Subjects {
			for _, asked := range ServiceSubjects() {
				if found == nil && overlap(stored, asked) {
					found = domain.Errorf(domain.Refused,
						"stream %s stores %s, on which Comanda answers requests (%s): give the stream other subjects", info.Config.Name, stored, asked)
				}
			}
		}
	}
	if found != nil {
		return found
	}
	if err := streams.Err(); err != nil {
		return domain.Errorf(domain.Unavailable, "list the streams: %w", err)
	}
	return nil
}

// overlap reports whether there is a subject that both patterns match.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != y[i] && x[i] != "*" && y[i] != "*":
			return false
		}
	}
	return len(x) == len(y)
}
