package natsnode

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog is the server's log in ours. Its notices tell of every step of its
// own start, so they are debug here.
type serverLog struct{ log *slog.Logger }

var _ server.Logger = serverLog{}

const serverLine = "nats server"

// Noticef logs at debug.
func (l serverLog) Noticef(format string, v ...any) { l.debug(format, v) }

// Debugf logs at debug.
func (l serverLog) Debugf(format string, v ...any) { l.debug(format, v) }

// Tracef logs nothing: traces hold payloads.
func (l serverLog) Tracef(string, ...any) {}

// Warnf logs a warning.
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn(serverLine, "line", fmt.Sprintf(format, v...))
}

// Errorf logs an error.
func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error(serverLine, "line", fmt.Sprintf(format, v...))
}

// Fatalf logs an error: the server then stops by itself, the process does not.
func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error(serverLine, "line", fmt.Sprintf(format, v...), "fatal", true)
}

func (l serverLog) debug(format string, v []any) {
	l.log.Debug(serverLine, "line", fmt.Sprintf(format, v...))
}
