package main

import (
	"context"
	"time"

	"comanda.internal/projections"
	"comanda.internal/projections/customers"
)

// operator is the views' runner, which also says how the index beside them is.
type operator struct {
	*projections.Runner

	customers *customers.Index
	now       func() time.Time
}

// Status implements [grpcapi.Operator].
func (o *operator) Status(ctx context.Context) (*projections.Status, error) {
	status, err := o.Runner.Status(ctx)
	if err != nil {
		return nil, err
	}
	status.Beside = []projections.Beside{o.customers.Status(status.Head, o.now())}
	return status, nil
}
