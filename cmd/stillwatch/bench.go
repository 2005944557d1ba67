package main

type benchCmd struct {
	Capture   benchCaptureCmd   `cmd:"" help:"Publish N synthetic participants over WebRTC and measure cost and latency of capture, classification and bans."`
	API       benchAPICmd       `cmd:"" name:"api" help:"Fill a server with calls and measure every operation of the API at a fixed rate."`
	Composite benchCompositeCmd `cmd:"" help:"Make one movie of N participants and measure its cost and quality beside a plain ffmpeg."`
	Webhook   benchWebhookCmd   `cmd:"" help:"Send frame events to a receiver at a fixed rate, alone and beside one that hangs, and measure."`
}
