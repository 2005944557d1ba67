package event

import (
	"encoding/json"
	"time"
)

const (
	exampleCID     = "default:abc"
	exampleSession = "e48dd421-6281-457e-8995-0ccc463da252"
	exampleEgress  = "9a1c6c51-6f0c-4a5e-9f43-8f2f3f0f7a10"
)

var exampleTime = time.Date(2026, 1, 5, 10, 2, 2, 412345678, time.UTC)

// exampleCall is a call while it goes on, as the API shows it.
var exampleCall = json.RawMessage(`{"type":"default","id":"abc","cid":"default:abc","team":"red",` +
	`"current_session_id":"e48dd421-6281-457e-8995-0ccc463da252",` +
	`"created_by":{"id":"alice","name":"Alice","image":"","role":"user","language":"","teams":[],"blocked_user_ids":[],` +
	`"banned":false,"shadow_banned":false,"invisible":false,"online":true,"last_active":"2026-01-05T10:00:00Z",` +
	`"created_at":"2026-01-05T10:00:00Z","updated_at":"2026-01-05T10:00:00Z"},` +
	`"custom":{"room":"7"},"created_at":"2026-01-05T10:00:00Z","updated_at":"2026-01-05T10:02:00Z",` +
	`"recording":false,"transcribing":false,"captioning":false,"translating":false,"backstage":false,` +
	`"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":2,"quality":"720p"}},` +
	`"blocked_user_ids":[],` +
	`"ingress":{"rtmp":{"address":""},"srt":{"address":""},"whip":{"address":"https://host/whip/default/abc"}},` +
	`"egress":{"broadcasting":false,"rtmps":[],"frame_recording":{"status":"running"},"composite_recording":{"status":"running"}},` +
	`"session":{"id":"e48dd421-6281-457e-8995-0ccc463da252","participants":[],"participants_count_by_role":{},` +
	`"anonymous_participant_count":0,"accepted_by":{},"missed_by":{},"rejected_by":{},"started_at":"2026-01-05T10:02:00Z"}}`)

func exampleUser(id, name, role string) User {
	made := exampleTime.Truncate(time.Hour)
	return User{
		ID: id, Name: name, Image: "https://example.com/" + id + ".png", Role: role, Language: "en",
		Teams: []string{"red"}, BlockedUserIDs: []string{}, Online: true, LastActive: exampleTime,
		CreatedAt: made, UpdatedAt: made, Custom: map[string]any{"badge": "7"},
	}
}

func callEntries() []Entry {
	at, made := exampleTime, exampleTime.Truncate(time.Hour)
	bob, mod := exampleUser("bob", "Bob", "user"), exampleUser("mod1", "Mo", "moderator")
	members := []CallMember{{"bob", "host", bob, map[string]any{"seat": "3"}, made, made}}
	in := Participant{bob, "2f8a1c5e-4f53-4dbb-9a54-0b9a5b1f9d11", "user", at.Add(-time.Minute)}
	counts := map[string]int{"user": 2, "host": 1}
	state := func(typ string) FrameRecordingState {
		return FrameRecordingState{typ, at, exampleCID, exampleCall, exampleEgress}
	}
	return []Entry{
		{CallCreated, "A call was made, by request or by the first who joined.", CallMade{CallCreated, at, exampleCID, exampleCall, members}},
		{CallUpdated, "A call's custom data, settings, start or members were changed.", CallChange{CallUpdated, at, exampleCID, exampleCall}},
		{CallEnded, "A call was ended for everybody; nobody can join it any more.", CallEnding{CallEnded, at, exampleCID, exampleCall, &mod, "nudity", members}},
		{CallDeleted, "A call was deleted and is no longer shown.", CallChange{CallDeleted, at, exampleCID, exampleCall}},
		{CallSessionStarted, "The first participant has joined.", CallSession{CallSessionStarted, at, exampleCID, exampleSession, exampleCall}},
		{CallSessionEnded, "The last participant has left.", CallSession{CallSessionEnded, at, exampleCID, exampleSession, exampleCall}},
		{CallParticipantJoined, "A user's connection to a call stands.", ParticipantJoined{CallParticipantJoined, at, exampleCID, exampleSession, in}},
		{CallParticipantLeft, "A user's connection to a call is over.", ParticipantLeft{CallParticipantLeft, at, exampleCID, exampleSession, in, 60, "left"}},
		{CallParticipantCount, "How many are in a call has changed.", ParticipantCount{CallParticipantCount, at, exampleCID, exampleSession, counts, 1}},
		{CallFrameRecordingStarted, "Stills of a call are taken from now on.", state(CallFrameRecordingStarted)},
		{CallFrameRecordingStopped, "Stills of a call are no longer taken.", state(CallFrameRecordingStopped)},
		{CallFrameRecordingFailed, "Stills of a call should be taken and cannot be.", state(CallFrameRecordingFailed)},
		{CallFrameRecordingReady, "A still was taken and stored.", FrameRecordingReady{
			CallFrameRecordingReady, at, exampleCID, exampleSession, TrackVideo,
			"https://host/s/frames/default/abc/0b6f.jpg?exp=1767693722&sig=5f2b", at.Add(-300 * time.Millisecond), exampleEgress,
			map[string]User{"bob": bob},
		}},
		{CustomEvent, "An application sent an event of its own to a call.", Custom{CustomEvent, at, exampleCID, bob, map[string]any{"hand": "raised"}}},
	}
}
