//go:build !linux || !(amd64 || arm64)

package jail

import (
	"context"
	"errors"
)

// ErrUnsupported is returned by Run where there is no jail to be had.
var ErrUnsupported = errors.New("commands on strangers' media are run on Linux (amd64, arm64) only")

// Init does nothing here.
func Init() {}

// Supported tells that there is no protection.
func Supported() Protection { return Protection{} }

// Run refuses: without a jail, strangers' media is not decoded.
func Run(context.Context, Command) error { return ErrUnsupported }
