package rtc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logFactory sends the libraries' messages to slog. All go out at debug level:
// what they call an error is mostly one stranger's bad packet.
type logFactory struct{ log *slog.Logger }

// NewLogger makes a logger for a part of the libraries.
func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	return leveled{f.log.With("scope", scope)}
}

type leveled struct{ log *slog.Logger }

func (l leveled) put(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l leveled) Trace(string)                 {}
func (l leveled) Tracef(string, ...any)        {}
func (l leveled) Debug(string)                 {}
func (l leveled) Debugf(string, ...any)        {}
func (l leveled) Info(string)                  {}
func (l leveled) Infof(string, ...any)         {}
func (l leveled) Warn(m string)                { l.put("%s", m) }
func (l leveled) Warnf(f string, args ...any)  { l.put(f, args...) }
func (l leveled) Error(m string)               { l.put("%s", m) }
func (l leveled) Errorf(f string, args ...any) { l.put(f, args...) }
