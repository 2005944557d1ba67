package recording

import (
	"path"
	"strings"
	"testing"
	"time"
)

func TestCheckTemplate(t *testing.T) {
	t.Parallel()
	for _, fine := range []string{"", "x", "rec-{{uuid}}-{{confbridgeid}}", "{{ date }}/{{userid}}", "a.b", "Ä {{n}}", "a@b"} {
		if err := CheckTemplate(fine); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
	for _, bad := range []string{
		"../x", "a/../b", "/a", "a/", "a//b", ".a", "a/.b", "@a", "a\\b", "c:d", "a\nb", "{{uuid", "uuid}}", "{{A B}}", "{x}", "a?b", "a#b",
		strings.Repeat("x", MaxTemplate+1), "a\x00", "{{uuid}}/..",
	} {
		if err := CheckTemplate(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzCheckTemplate: what is taken stays below its folder, whatever its
// placeholders stand for.
func FuzzCheckTemplate(f *testing.F) {
	for _, s := range []string{"rec-{{uuid}}", "../x", "a/{{userid}}/b", "{{", "}}", "{{x}}{{y}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		if CheckTemplate(template) != nil || template == "" {
			return
		}
		name := placeholderRE.ReplaceAllString(template, "value")
		if path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "..") || strings.ContainsAny(name, "{}\\\x00") {
			t.Fatalf("%q became %q", template, name)
		}
	})
}

func TestCheckDestination(t *testing.T) {
	t.Parallel()
	for _, fine := range []string{"", "https://take.example/in?x=1", "http://10.0.0.1:8080/"} {
		if err := CheckDestination(fine); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
	for _, bad := range []string{"take.example", "ftp://x", "https:///x", "https://a:b@x/", "https://x/#y", "http:x", "://", "https://x/" + strings.Repeat("y", 2048), "https://x\n"} {
		if err := CheckDestination(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	const key = keyBegin + "\n\nmDM=\n" + keyEnd
	for text, want := range map[string]string{
		"": "", key: "", "\n" + key + "\n": "", key + "\n" + key: "one", "x": "armored", keyBegin: "armored",
		strings.ReplaceAll(key, "PUBLIC", "PRIVATE"): "private", key + strings.Repeat("\n", MaxKey): "bytes",
	} {
		err := CheckKey(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

func TestLongestSlice(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]time.Duration{
		"mp4": 120 * time.Minute, "aac": 120 * time.Minute, "auto": 120 * time.Minute, "flv": 720 * time.Minute, "hls": 720 * time.Minute, "webm": 720 * time.Minute,
	} {
		if got := LongestSlice(format); got != want {
			t.Errorf("%s: %v", format, got)
		}
	}
}

func TestAddLayout(t *testing.T) {
	t.Parallel()
	AddLayout("mosaic-of-test")
	AddLayout("mosaic-of-test")
	if got := strings.Count(strings.Join(Layouts(), " "), "mosaic-of-test"); got != 1 {
		t.Errorf("%d times in %v", got, Layouts())
	}
}

func TestForEvidence(t *testing.T) {
	t.Parallel()
	p := DefaultPlan()
	p.AudioOnly, p.VideoOnly, p.RawAudioOnly, p.Omit, p.KeepEvidence = true, true, true, []string{"a"}, time.Hour
	if e := p.ForEvidence(); e.AudioOnly || e.VideoOnly || e.RawAudioOnly || e.Omit != nil || e.KeepMovies != time.Hour || !p.AudioOnly {
		t.Errorf("%+v of %+v", e, p)
	}
}
