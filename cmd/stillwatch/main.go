// Command stillwatch watches live calls through still frames.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"stillwatch/internal/jail"
)

func main() {
	jail.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
