package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Lead asks that the turn-th of the servers that hold the stream becomes its
// leader. A cluster chooses the leaders of new streams at random (nats-server,
// server/jetstream_cluster.go, setPreferredMember): asked by number, streams are spread
// over the servers. A stream that is not replicated stays where it is.
func Lead(ctx context.Context, js jetstream.JetStream, name string, turn int) error {
	info, err := Await(ctx, js, name)
	if err != nil {
		return fmt.Errorf("spread stream %s: %w", name, err)
	}
	if info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return nil
	}
	servers := []string{info.Cluster.Leader}
	for _, r := range info.Cluster.Replicas {
		servers = append(servers, r.Name)
	}
	slices.Sort(servers)
	leader := servers[turn%len(servers)]
	if leader == info.Cluster.Leader {
		return nil
	}
	body, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": leader}})
	if err != nil {
		return fmt.Errorf("spread stream %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, APITimeout)
	defer cancel()
	answer, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+name, body)
	if err != nil {
		return fmt.Errorf("spread stream %s: %w: %w", name, ErrNoAnswer, err)
	}
	var said struct {
		Error *APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		return fmt.Errorf("spread stream %s: %w", name, err)
	}
	if said.Error != nil {
		return fmt.Errorf("spread stream %s: %w", name, said.Error)
	}
	return nil
}
