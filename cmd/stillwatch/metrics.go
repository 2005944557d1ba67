package main

import (
	"stillwatch/internal/event"
	"stillwatch/internal/telemetry"

	"github.com/prometheus/client_golang/prometheus"
)

// measure makes the parts' counts visible at /metrics.
func (p *Program) measure() {
	counter := func(name, help string, f func() float64) { telemetry.Counter(p.metrics, name, help, nil, f) }
	gauge := func(name, help string, f func() float64) { telemetry.Gauge(p.metrics, name, help, nil, f) }

	counter("frames_due_total", "Frames that were due.", func() float64 { return float64(p.sampler.Stats().Due) })
	counter("frames_captured_total", "Frames that were captured and stored.", func() float64 { return float64(p.sampler.Stats().Captured) })
	counter("keyframe_requests_total", "Picture loss indications sent for frames.", func() float64 { return float64(p.sampler.Stats().Requests) })
	counter("rows_lost_total", "Frame and gap rows that the database did not take.", func() float64 { return float64(p.sampler.Stats().RowsLost) })
	gauge("tracks", "Live video tracks.", func() float64 { return float64(p.sampler.Stats().Tracks) })
	gauge("tracks_sampled", "Live video tracks in calls that are recorded.", func() float64 { return float64(p.sampler.Stats().Sampled) })
	for _, reason := range []event.GapReason{
		event.GapMuted, event.GapBlack, event.GapFrozen, event.GapNoKeyframe, event.GapUndecodable,
		event.GapCrashed, event.GapOverload, event.GapStorage,
	} {
		telemetry.Counter(p.metrics, "frames_missed_total", "Frames that were due and not captured, by reason.",
			prometheus.Labels{"reason": string(reason)}, func() float64 { return float64(p.sampler.Stats().Gaps[reason]) })
	}
	counter("pictures_total", "Keyframes made into pictures.", func() float64 { return float64(p.pictures.Stats().Pictures) })
	counter("picture_cpu_seconds_total", "CPU time of the picture workers.", func() float64 { return p.pictures.Stats().CPU.Seconds() })
	counter("picture_crashes_total", "Picture workers lost to a keyframe.", func() float64 { return float64(p.pictures.Stats().Crashes) })
	counter("picture_deadlines_total", "Picture workers killed for taking too long.", func() float64 { return float64(p.pictures.Stats().Deadlines) })
	counter("keyframes_parked_total", "Keyframes that killed two workers.", func() float64 { return float64(p.pictures.Stats().Parked) })
	counter("recording_steps_total", "Steps of recordings done.", func() float64 { return float64(p.recorder.Stats().Steps) })
	counter("recording_files_total", "Files of recordings put into storage.", func() float64 { return float64(p.recorder.Stats().Stored) })
	counter("recording_files_deleted_total", "Files of recordings deleted again.", func() float64 { return float64(p.recorder.Stats().Deleted) })
	counter("recordings_failed_total", "Recordings given up; their packets are kept. Any increase is an alarm.", func() float64 { return float64(p.recorder.Stats().Failed) })
	counter("recording_lost_total", "Bursts of packets that could not be written. Any increase is an alarm.", func() float64 { return float64(p.recorder.Stats().Lost) })
	counter("recording_discarded_total", "Sessions whose packets were destroyed since nothing asked to keep them.", func() float64 { return float64(p.recorder.Stats().Discarded) })
	counter("recording_dropped_total", "Times that packets of a call nobody had asked to keep were given up, or not begun, for want of room. Any increase is an alarm.", func() float64 { return float64(p.recorder.Stats().Dropped) })
	counter("recording_stream_connections_total", "Connections begun to endpoints that take recordings while they run.", func() float64 { return float64(p.recorder.Stats().StreamConnections) })
	counter("recording_stream_packets_total", "Packets meant for such endpoints.", func() float64 { return float64(p.recorder.Stats().StreamPackets) })
	counter("recording_stream_lost_total", "Packets that such an endpoint did not get, being too slow or away.", func() float64 { return float64(p.recorder.Stats().StreamLost) })
	counter("recording_streams_failed_total", "Streams of recordings that were not delivered. Any increase is an alarm.", func() float64 { return float64(p.recorder.Stats().StreamsFailed) })
	gauge("recording_streams", "Recordings that go to an endpoint now.", func() float64 { return float64(p.recorder.Stats().Streams) })
	counter("recording_handed_over_bytes_total", "Bytes of packets and of what was made that were put into the store for other machines.", func() float64 { return float64(p.recorder.Stats().Handed) })
	counter("recording_fetched_bytes_total", "Bytes that other machines handed over and this one fetched.", func() float64 { return float64(p.recorder.Stats().Fetched) })
	gauge("recording_sessions", "Live sessions that the recorder follows.", func() float64 { return float64(p.recorder.Stats().Live) })
	p.measureDecide(counter)
}
