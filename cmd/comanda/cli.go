package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/domain"
)

// cli is the table of subcommands.
type cli struct {
	Serve     serveCmd     `cmd:"" help:"Run everything: intake, log, views, gRPC, notifications. Needs no configuration."`
	Trigger   triggerCmd   `cmd:"" help:"Post a realistic, authenticated webhook of a provider."`
	Orders    ordersCmd    `cmd:"" help:"Read orders."`
	Purchases purchasesCmd `cmd:"" help:"Read purchases: the orders that share a merchant reference."`
	Conflicts conflictsCmd `cmd:"" help:"Read the events that their orders' facts contradict."`
	Attention attentionCmd `cmd:"" help:"Read what an operator should see."`
	Stats     statsCmd     `cmd:"" help:"Count what happened and how orders stand, by hour, day, merchant, source and method."`
	Events    eventsCmd    `cmd:"" help:"Read the log."`
	Groups    groupsCmd    `cmd:"" help:"Operate consumer groups: create, list, seek, parked, replay, delete."`
	Machine   machineCmd   `cmd:"" help:"Show the state machine's transition table, or what another would change."`
	Views     viewsCmd     `cmd:"" help:"Operate the views: status, rebuild beside those that serve, parked orders."`
	Sources   sourcesCmd   `cmd:"" help:"Show the configured ways in."`
	Proto     protoCmd     `cmd:"" help:"Write the gRPC contract as a descriptor set, for grpcurl and generators."`
	Verify    verifyCmd    `cmd:"" help:"Prove that the log holds together and that every view equals a fresh fold."`
	Tokens    tokensCmd    `cmd:"" help:"Keep the tokens that services call the gRPC server with."`
	Log       logCmd       `cmd:"" help:"Back the log up, restore it, mirror it, or make it anew with other partitions."`
	NATS      natsCmd      `cmd:"" name:"nats" help:"Say what a checkout needs on a NATS server."`
	Config    configCmd    `cmd:"" help:"Look at a configuration file."`
	Bench     benchCmd     `cmd:"" help:"Measure, and compare with the raw limit taken in the same run."`
	Version   versionCmd   `cmd:"" help:"Print versions."`
}

// stdio is where a command writes; only results go to out.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
}

// The exit codes of DESIGN section 11.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNotFound
	exitRefused
	exitUnavailable
)

// The formats of -o.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatCSV   = "csv"
	formatSVG   = "svg" // of stats only
)

// outputFlag is embedded by commands that print records.
type outputFlag struct {
	Output string `short:"o" enum:"table,json,jsonl,csv" default:"table" help:"Output format: table, json, jsonl or csv."`
}

// run is the program: it parses args, runs the command until ctx ends, and
// answers the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var c cli
	helped := false
	complain := func(format string, args ...any) { _, _ = fmt.Fprintf(errOut, "comanda: "+format+"\n", args...) }
	parser, err := kong.New(&c, kong.Name("comanda"), kong.Writers(out, errOut), kong.UsageOnError(),
		kong.Description("An event-sourced order state machine: the same facts, in any order, any number of times, "+
			"through any crash, give the same order."),
		kong.DefaultEnvars("COMANDA"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(int) { helped = true }), // --help prints, and parsing goes on
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&stdio{in: os.Stdin, out: out, err: errOut, now: time.Now}))
	if err != nil {
		complain("%v", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		complain("%v\nRun 'comanda --help' for what there is.", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		complain("%s", explain(err))
		return exitCode(err)
	}
	return exitOK
}

// usageError is a mistake in flags or arguments.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exitCode maps an error to the exit code of DESIGN section 11.
func exitCode(err error) int {
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	if s, ok := status.FromError(err); ok {
		return exitOfCode(s.Code())
	}
	switch domain.KindOf(err) {
	case domain.Invalid:
		return exitUsage
	case domain.NotFound:
		return exitNotFound
	case domain.Refused, domain.Stale, domain.Exists:
		return exitRefused
	case domain.Unavailable, domain.Exhausted:
		return exitUnavailable
	default:
		return exitFailed
	}
}

func exitOfCode(code codes.Code) int {
	switch code {
	case codes.OK:
		return exitOK
	case codes.InvalidArgument, codes.OutOfRange:
		return exitUsage
	case codes.NotFound:
		return exitNotFound
	case codes.FailedPrecondition, codes.Aborted, codes.AlreadyExists:
		return exitRefused
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return exitUnavailable
	default:
		return exitFailed
	}
}

// explain is what a person reads: a gRPC error's own text, and the fields that
// it complains of.
func explain(err error) string {
	answer, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return err.Error()
	}
	s := answer.GRPCStatus()
	text := []string{s.Message()}
	for _, detail := range s.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				text = append(text, v.GetField()+": "+v.GetDescription())
			}
		}
	}
	return strings.Join(text, "\n  ")
}
