package event

import "time"

func recordingEntries() []Entry {
	at, from := exampleTime, exampleTime.Add(-time.Minute)
	const kind, index = "composite", "3d1c0f52-7a43-4c1b-9e0d-2f8b7a6c5d41"
	custom := map[string]any{"case": "42"}
	state := func(typ string) RecordingState {
		return RecordingState{typ, at, exampleCID, exampleEgress, kind, LaneBusiness}
	}
	link := "https://host/s/recordings/default/abc/recording-abc.mp4?exp=1767780122&sig=5f2b"
	item := RecordingItem{"recordings/default/abc/recording-abc.mp4", 7_500_000, Checksum{
		"cb1b99f6657c91dac6c1913cd99131a1", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	}}
	file := CallRecording{
		Filename: "recording-abc.mp4", URL: link, StartTime: from, EndTime: at, SessionID: exampleSession, RecordingType: kind,
		Kind: "movie", IndexID: index, PlaybackURL: link, Format: RecordingMP4, Bucket: "media", Size: item.Size, Items: []RecordingItem{item},
		Media: MediaInfo{
			Metadata: MediaMetadata{Rotate: "0"},
			Streams: []MediaStream{
				{Index: 0, CodecType: "video", CodecName: "h264", BitRate: 936_000, Width: 1280, Height: 720, FrameRate: "25/1"},
				{Index: 1, CodecType: "audio", CodecName: "aac", BitRate: 64_000, Channels: 2, SampleRate: 48_000},
			},
			Format: MediaFormat{Duration: "60.000000", Name: "mov,mp4,m4a,3gp,3g2,mj2", Size: item.Size, BitRate: 1_000_000},
		},
	}
	return []Entry{
		{CallRecordingStarted, "A full recording of a call has begun.", state(CallRecordingStarted)},
		{CallRecordingStopped, "A full recording of a call has ended; its files are being made.", state(CallRecordingStopped)},
		{CallRecordingOverride, "A flagged call is recorded as evidence against a permission.", RecordingOverride{
			CallRecordingOverride, at, exampleCID, exampleSession, "5c0e7f5a-2b1d-4e6f-8a90-3d4c5b6a7f81", "user", "none",
		}},
		{CallRecordingFailed, "A file of a recording could not be made or stored. What was recorded is kept.", RecordingFailed{
			Type: CallRecordingFailed, CreatedAt: at, CallCID: exampleCID, EgressID: exampleEgress, RecordingType: kind,
			SessionID: exampleSession, Format: RecordingMP4, Bucket: "media", IndexID: index, StartTime: from, EndTime: at,
			Error: RecordingError{Code: 12, Message: "the disk is full"}, Custom: custom, Lane: LaneBusiness,
		}},
		{CallRecordingReady, "A file of a recording is stored and can be played.", RecordingReady{
			CallRecordingReady, at, exampleCID, file, exampleEgress, kind, custom, LaneBusiness,
		}},
	}
}
