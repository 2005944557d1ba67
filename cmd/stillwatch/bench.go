package main

type benchCmd struct {
	Capture benchCaptureCmd `cmd:"" help:"Publish N synthetic participants over WebRTC and measure cost and latency of capture, classification and bans."`
}
