package archive

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSidecar(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, text)
		noErr(t, err)
		return v
	}
	s := NewSidecar("61408347", at("2020-05-25T07:42:28.633Z"), at("2020-05-25T07:42:43.826Z"), true, true)
	s.AddVideo("alice", "/recording/postprocessed/x/rec-20200525-074229-alice.webm", at("2020-05-25T07:42:29.126Z"), at("2020-05-25T07:42:43.756Z"), 123412)
	s.AddAudio("", "rec.wav", at("2020-05-25T07:42:28.633Z"), at("2020-05-25T07:42:43.826Z"), 2_430_880)
	s.CallCID, s.SessionID = "default:abc", "s1"
	for _, from := range []string{"2020-05-25T07:42:29.126Z", "2020-05-25T07:42:40Z"} {
		s.AddSegment("alice", "TRACK_TYPE_VIDEO", at(from), at(from).Add(5*time.Second))
	}
	got, err := json.Marshal(s)
	noErr(t, err)
	want := `{"uuid":"61408347","callCid":"default:abc","sessionId":"s1","startTime":"2020-05-25T07:42:28.633Z","stopTime":"2020-05-25T07:42:43.826Z","shouldRecordAudio":true,"shouldRecordVideo":true,` +
		`"videos":[{"startTime":"2020-05-25T07:42:29.126Z","stopTime":"2020-05-25T07:42:43.756Z","filename":"/recording/postprocessed/x/rec-20200525-074229-alice.webm","size":"0.123412000000MB","sizeBytes":123412,"userID":"alice"}],` +
		`"audio":{"startTime":"2020-05-25T07:42:28.633Z","stopTime":"2020-05-25T07:42:43.826Z","filename":"rec.wav","size":"2.430880000000MB","sizeBytes":2430880},` +
		`"tracks":[{"userID":"alice","trackType":"TRACK_TYPE_VIDEO","segments":[{"startTime":"2020-05-25T07:42:29.126Z","stopTime":"2020-05-25T07:42:34.126Z"},` +
		`{"startTime":"2020-05-25T07:42:40.000Z","stopTime":"2020-05-25T07:42:43.826Z"}]}]}` // cut to the recording's end
	if string(got) != want {
		t.Errorf("%s", got)
	}
	none, _ := json.Marshal(NewSidecar("u", at("2020-05-25T07:42:28Z"), at("2020-05-25T07:42:27Z"), false, true))
	if string(none) != `{"uuid":"u","startTime":"2020-05-25T07:42:28.000Z","stopTime":"2020-05-25T07:42:28.000Z","shouldRecordAudio":false,"shouldRecordVideo":true,"videos":[]}` {
		t.Errorf("%s", none)
	}
}

func TestWindowsLieWithinTheRecordings(t *testing.T) {
	t.Parallel()
	size := regexp.MustCompile(`^[0-9]+\.[0-9]{12}MB$`)
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Int64Range(0, 1e6)
		at := func(what string) time.Time { return time.UnixMilli(1590392548633 + moment.Draw(t, what)) }
		s := NewSidecar("u", at("start"), at("stop"), true, true)
		for range rapid.IntRange(0, 4).Draw(t, "videos") {
			s.AddVideo("a", "a", at("from"), at("to"), rapid.Int64Range(0, 1e13).Draw(t, "size"))
		}
		s.AddAudio("", "b", at("from"), at("to"), 1)
		others := rapid.IntRange(0, 3).Draw(t, "sounds")
		for range others {
			s.AddAudio(rapid.SampledFrom([]string{"", "a"}).Draw(t, "whose"), "c", at("from"), at("to"), 1)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Sidecar
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		files := []SidecarFile{*back.Audio}
		for _, v := range back.Videos {
			files = append(files, v.SidecarFile)
		}
		for _, v := range back.Sounds {
			files = append(files, v.SidecarFile)
		}
		if len(back.Sounds) != others {
			t.Fatalf("%d more sounds, want %d: %s", len(back.Sounds), others, text)
		}
		from, to := time.Time(back.StartTime), time.Time(back.StopTime)
		for _, f := range files {
			start, stop := time.Time(f.StartTime), time.Time(f.StopTime)
			if start.Before(from) || stop.After(to) || stop.Before(start) || !size.MatchString(f.Size) {
				t.Fatalf("%s", text)
			}
		}
	})
}
