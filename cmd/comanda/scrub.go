package main

import (
	"context"
	"fmt"
	"path/filepath"

	"comanda.internal/adapters/ops"
	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/scrub"
)

// remembered is what the views and the scrub know of the log. What the scrub knew
// is dropped when its file cannot be read: it is an aid.
func (a *app) remembered(ctx context.Context) ([]eventstore.Mark, error) {
	var marks []eventstore.Mark
	err := a.views.file.Remembered(func(log string, partition int, sequence uint64, hash [32]byte) {
		marks = append(marks, eventstore.Mark{By: "the views have read", Log: log, Partition: partition, Sequence: sequence, Hash: hash})
	})
	if err != nil {
		return nil, err
	}
	if a.scrubbed, err = scrub.Load(filepath.Join(a.cmd.DataDir, scrubFile)); err != nil {
		a.logger.WarnContext(ctx, "scrub begins at the beginning", "error", err)
	}
	for _, m := range a.scrubbed.Marks {
		marks = append(marks, eventstore.Mark{
			By: "the scrub has proven", Log: a.scrubbed.Log, Epoch: a.scrubbed.Epoch, Partition: m.Partition, Sequence: m.Sequence, Hash: m.Hash,
		})
	}
	return marks, nil
}

// startScrub goes on proving the log in the background.
func (a *app) startScrub(ctx context.Context) error {
	s, err := scrub.New(a.cfg.Scrub, scrub.Deps{
		Log: a.log, Verify: a.scrubSlice, Clock: a.now, Logger: a.logger, Registerer: a.registry,
	}, filepath.Join(a.cmd.DataDir, scrubFile), a.scrubbed)
	if err != nil {
		return err
	}
	a.stack.spawn(ctx, "scrub", s.Run)
	a.checks = append(a.checks, ops.Check{Name: "scrub", Probe: func(context.Context) (ops.State, string) {
		if n, first := s.Problems(); n > 0 {
			return ops.Warning, fmt.Sprintf("%d problems found, as: %s", n, first)
		}
		return ops.Ready, ""
	}})
	return nil
}

// mostTold are the problems of one slice that are written to the log.
const mostTold = 20

// scrubSlice proves at most limit events after since.
func (a *app) scrubSlice(ctx context.Context, since domain.Position, limit uint64) (scrub.Result, error) {
	report, head, err := a.verifier().check(ctx, eventstore.VerifyOptions{Since: since, Limit: limit})
	if err != nil {
		return scrub.Result{}, err
	}
	result := scrub.Result{Events: report.GetEvents(), Head: head, Problems: report.GetProblemCount()}
	for _, p := range report.GetProblems()[:min(len(report.GetProblems()), mostTold)] {
		result.Texts = append(result.Texts, problemText(p))
	}
	return result, nil
}
