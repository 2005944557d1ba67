package archive

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/jail"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	jail.Init()
	goleak.VerifyTestMain(m)
}

var sample = Values{
	UUID: "61408347", ConfbridgeID: "4711", CallID: "mystream", CallType: "default", Session: "s1", UserID: "alice", Username: "Alice Ä",
	N: 3, Start: time.Unix(1585829187, 0), End: time.Unix(1585829324, 0), Format: "mp4", Type: "composite", Ext: "mp4",
}

func TestNames(t *testing.T) {
	t.Parallel()
	with := func(change func(v *Values)) Values {
		v := sample
		change(&v)
		return v
	}
	for _, c := range []struct {
		template, want string
		v              Values
	}{
		{DefaultName(KindMerged), "recording-4711-61408347.mp4", sample},
		{DefaultName(KindSplit), "rec-20200402-120627-alice.webm", with(func(v *Values) { v.Ext = "webm" })},
		{DefaultName(KindAudio), "rec-20200402-120627-61408347-4711.wav", with(func(v *Values) { v.Ext = "wav" })},
		{DefaultName(KindRaw), "recording-4711.wav", with(func(v *Values) { v.Ext = "wav" })},
		{DefaultName(KindBundle), "rec-61408347-4711.mp4", sample},
		{DefaultName("other"), "rec-61408347-4711.mp4", sample},
		{Presets["streams"][KindMerged], "record/live/mystream/mp4/mystream-1585829187-1585829324.mp4", sample},
		{Presets["streams"][KindSplit], "record/live/mystream/hls/mystream-1585829187-1585829324.m3u8", with(func(v *Values) { v.Format, v.Ext = "hls", "m3u8" })},
		{"a/{{ n }}-{{username}}", "a/3-Alice_Ä", with(func(v *Values) { v.Ext = "" })},
		{"{{uuid}}", "_.__x__x", with(func(v *Values) { v.UUID, v.Ext = "../../x\x00/x", "" })},
		{"{{uuid}}.mp4", "none.mp4", with(func(v *Values) { v.UUID = "" })},
		{"{{confbridgeid}}", "s1.mp4", with(func(v *Values) { v.ConfbridgeID = "" })},
	} {
		if got, err := Name(c.template, c.v); got != c.want && !strings.HasPrefix(c.want, "_") || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.template, got, err, c.want)
		}
	}
	for _, preset := range Presets {
		for kind, template := range preset {
			if err := CheckTemplate(template); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}

func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"{{nope}}": "call_id", "{{uuid": "{{ without }}", "uuid}}": "}} without {{", "../{{uuid}}": "bad object key", "/x": "bad object key",
		"a//b": "bad object key", "a\n": "bad object key", "{{uuid}}/..": "bad object key", strings.Repeat("x", 600): "bad object key",
	} {
		if err := CheckTemplate(template); !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", template, err)
		}
	}
}

func TestNumbered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, want string
		n         int
	}{{"a/b.mp4", "a/b.mp4", 1}, {"a/b.mp4", "a/b-2.mp4", 2}, {"a/b.mp4.gpg", "a/b-3.mp4.gpg", 3}, {"a.b/c", "a.b/c-2", 2}, {".x", ".x-2", 2}} {
		if got := Numbered(c.key, c.n); got != c.want {
			t.Errorf("%q, %d: %q", c.key, c.n, got)
		}
	}
}

// Values from outside never leave their part of the key.
func TestValuesStayInTheirPart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := sample
		v.UserID = rapid.String().Draw(t, "user id")
		v.Username = rapid.OneOf(rapid.String(), rapid.StringMatching(`[./\\ ]{0,9}`)).Draw(t, "name")
		got, err := Name("a/{{userid}}/x{{username}}x/z", v)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(got, "/")
		if len(parts) != 4 || parts[0] != "a" || parts[3] != "z.mp4" || blob.CheckKey(got) != nil || strings.Contains(got, "..") {
			t.Fatalf("%q", got)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("rec-{{uuid}}-{{n}}", "alice")
	f.Add("{{", "}}")
	f.Add("{{userid}}{{userid}}", "../..")
	f.Add("a/{{userid}}.{{userid}}/b", ".\xff")
	f.Fuzz(func(t *testing.T, template, user string) {
		v := sample
		v.UserID = user
		got, err := Name(template, v)
		if err != nil {
			if !errors.Is(err, ErrTemplate) {
				t.Fatal(err)
			}
			return
		}
		if err := blob.CheckKey(got); err != nil {
			t.Fatal(err)
		}
	})
}
