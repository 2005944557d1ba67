package mjr

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseEvent(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	if e.ConferenceID != "conf-77" || e.Recording.UUID != "61408347" || !e.Recording.Completed {
		t.Errorf("%+v", e)
	}
	var got []string
	for _, s := range e.segments() {
		got = append(got, s.user+" "+s.base()+" "+s.StartTime.Format(time.RFC3339Nano))
	}
	want := strings.Join([]string{
		"asterisk recording-77.wav 2020-05-25T07:42:28.633Z",
		"ann janus-61408347-ann-sfuvideo-1590392549126-video.mjr 2020-05-25T07:42:29.126Z",
		"ann janus-61408347-ann-sfuvideo-1590392551626-video.mjr 2020-05-25T07:42:31.626Z",
		"bob janus-61408347-bob-sfuvideo-1590392552126-video.mjr 2020-05-25T07:42:32.126Z",
	}, "\n")
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

func TestParseEventRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "{", "[]", "{}", `{"recordingInfo":{"video":{"a":{"b":{"1":{"startTime":"yesterday"}}}}}}`,
		`{"recordingInfo":{"video":{"a":{"b":{"1":{"startTime":true}}}}}}`,
	} {
		if _, err := ParseEvent([]byte(s)); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	e, err := ParseEvent([]byte(`{"recordingInfo":{"video":{"a":{"b":{"1590392549126":{"startTime":null,"stopTime":""}}}}}}`))
	if err != nil || e.segments()[0].at.UnixMilli() != 1590392549126 {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzParseEvent(f *testing.F) {
	b, err := os.ReadFile("testdata/event.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			return
		}
		for _, s := range e.segments() {
			if strings.Contains(s.base(), "/") && s.base() != "/" {
				t.Fatalf("%q", s.base())
			}
		}
		e.missing(nil)
	})
}
