package main

import "stillwatch/internal/service"

// closing lets something that is opened, not started, end in its turn.
func closing(f func() error) service.Service { return &service.Func{OnClose: f} }
