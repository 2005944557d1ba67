package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

const testKey = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDM=\n-----END PGP PUBLIC KEY BLOCK-----"

// everySetting sets each field of a plan to what it is not by default.
var everySetting = `{"settings":{
	"recording":{"mode":"on-flag","quality":"vga","layout":{"name":"gallery"},"level":"low","mix_limit":16,"large_grid":true,"split":true,
		"show_names":true,"background":"#ffffff","watermark":"internal","blur_bystanders":true,"omit_users":["carol"],"formats":["hls","webm"],"webm_codec":"vp8",
		"filename":"{{date}}/{{uuid}}","destination":"https://take.example/in","encrypt_to":` + fmt.Sprintf("%q", testKey) + `,
		"slice_minutes":90,"period_minutes":600,"resume_timeout_seconds":0,"pre_roll_seconds":60,"record_alone":true,
		"retention_hours":0,"evidence_retention_hours":720,"audio_only":true},
	"individual_recording":{"mode":"auto-on","output_types":["audio_only"],"formats":["ogg","wav-8bit"],"sound_format":"wav-8bit"},
	"raw_recording":{"mode":"on-flag","audio_only":true},
	"moderation_evidence":{"mode":"on-flag"}}}`

func TestEveryFieldOfThePlanIsASetting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PUT", typesURL+"/default", everySetting)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	call, err := b.call(t.Context(), "default:abc")
	if err != nil {
		t.Fatal(err)
	}
	got, err := PlanOf(call.Settings.V, call.RecordingDecision.V)
	if err != nil {
		t.Fatal(err)
	}
	want := recording.Plan{
		Composite: "on-flag", Individual: "auto-on", Raw: "on-flag", Evidence: "on-flag", AudioOnly: true, RawAudioOnly: true,
		Layout: "grid", Quality: planVGA, Level: "low", MixLimit: 16, LargeGrid: true, Split: true, ShowNames: true, Background: "#ffffff",
		Watermark: "internal", BlurBystanders: true, Omit: []string{"carol"}, CompositeFormats: []string{"hls", "webm"}, WebMCodec: "vp8", SoundFormat: "wav-8bit",
		IndividualFormats: []string{"ogg", "wav-8bit"}, OutputTypes: []string{"audio_only"}, Filename: "{{date}}/{{uuid}}",
		Destination: "https://take.example/in", EncryptTo: testKey, Slice: 90 * time.Minute, Period: 10 * time.Hour, PreRoll: time.Minute,
		RecordAlone: true, KeepEvidence: 30 * 24 * time.Hour,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan\n%+v, want\n%+v", got, want)
	}
	// What is new in a plan has to be a setting as well: nothing but what is
	// zero on purpose may be zero here.
	v := reflect.ValueOf(got)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		// DestinationMode is an order's alone.
		if zero := name == "DestinationMode" || name == "VideoOnly" || name == "Resume" || name == "KeepMovies"; v.Field(i).IsZero() != zero {
			t.Errorf("%s is %v", name, v.Field(i))
		}
	}
}

func TestPlanOfDefaults(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{``, `{}`, `{"recording":{"mode":"available"}}`, string(settingsColumn(DefaultSettings()).V)} {
		got, err := PlanOf(json.RawMessage(settings), db.RecordingDecision{})
		if err != nil {
			t.Fatal(err)
		}
		want := recording.DefaultPlan()
		want.Layout, want.Omit = "speaker", got.Omit // what the settings have said from the first version on
		if len(got.Omit) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", settings, got, want)
		}
	}
	if _, err := PlanOf(json.RawMessage(`{"recording":5}`), db.RecordingDecision{}); err == nil {
		t.Error("settings that cannot be read were read")
	}
}

func TestPlanOfPermissions(t *testing.T) {
	t.Parallel()
	type d = db.RecordingDecision
	const all = `{"recording":{"mode":"%s"},"individual_recording":{"mode":"%[1]s"},"raw_recording":{"mode":"%[1]s"},"moderation_evidence":{"mode":"on-flag"}}`
	for _, c := range []struct {
		mode     string
		decision d
		want     string
	}{
		{"available", d{Type: "none"}, "available available available on-flag false false"},
		{"disabled", d{Record: true, Type: "all"}, "auto-on disabled disabled on-flag false false"},
		{"on-flag", d{Record: true, Type: "audio", Mandatory: true}, "auto-on on-flag on-flag on-flag true false"},
		{"auto-on", d{Record: true, Type: "video"}, "auto-on auto-on auto-on on-flag false true"},
		{"auto-on", d{Denied: true, Type: "none"}, "disabled disabled disabled on-flag false false"},
		{"on-flag", d{Denied: true, Type: "none"}, "disabled disabled disabled on-flag false false"},
		{"available", d{Denied: true, Type: "none"}, "disabled disabled disabled on-flag false false"},
		// The caller was asked and said no.
		{"auto-on", d{Type: "none", Source: "user"}, "available available available on-flag false false"},
		{"on-flag", d{Type: "none", Source: "domain"}, "available available available on-flag false false"},
		{"disabled", d{Type: "none", Source: "user"}, "disabled disabled disabled on-flag false false"},
		// Nobody was: the system's setting asks for nothing.
		{"auto-on", d{Type: "none", Source: "system"}, "auto-on auto-on auto-on on-flag false false"},
	} {
		p, err := PlanOf(json.RawMessage(fmt.Sprintf(all, c.mode)), c.decision)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Composite, " ", p.Individual, " ", p.Raw, " ", p.Evidence, " ", p.AudioOnly, " ", p.VideoOnly); got != c.want {
			t.Errorf("%s with %+v: %s, want %s", c.mode, c.decision, got, c.want)
		}
		if e := p.ForEvidence(); e.AudioOnly || e.VideoOnly || e.Evidence != "on-flag" {
			t.Errorf("permissions reach the evidence: %+v", e)
		}
	}
}

// What is recorded always is recorded whole, as its type says: settings, which
// a caller may change, do not thin it out.
func TestPlanOfMandatory(t *testing.T) {
	t.Parallel()
	const thin = `{"recording":{"audio_only":true,"omit_users":["carol"]}}`
	for _, c := range []struct {
		decision db.RecordingDecision
		want     string
	}{
		{db.RecordingDecision{Record: true, Type: "all", Source: "user", Mandatory: true}, "false false []"},
		{db.RecordingDecision{Record: true, Type: "video", Source: "domain", Mandatory: true}, "false true []"},
		{db.RecordingDecision{Record: true, Type: "audio", Source: "user", Mandatory: true}, "true false []"},
		{db.RecordingDecision{Record: true, Type: "all", Source: "user"}, "true false [carol]"},
		{db.RecordingDecision{Record: true, Type: "all", Source: "system"}, "true false [carol]"},
		{db.RecordingDecision{}, "true false [carol]"},
	} {
		p, err := PlanOf(json.RawMessage(thin), c.decision)
		if got := fmt.Sprint(p.AudioOnly, " ", p.VideoOnly, " ", p.Omit); err != nil || got != c.want {
			t.Errorf("%+v: %s, want %s (%v)", c.decision, got, c.want, err)
		}
	}
}

func TestTooManyToMixIsSplit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]string{
		`9`: "false 9", `10`: "true 9", `25`: "true 9", `10,"large_grid":true`: "false 10",
		`26`: "true 9", `1000`: "true 9", `25,"large_grid":true`: "false 25", `26,"large_grid":true`: "true 25", `9,"split":true`: "true 9",
	} {
		p, err := PlanOf(json.RawMessage(`{"recording":{"mix_limit":`+limit+`}}`), db.RecordingDecision{})
		if got := fmt.Sprint(p.Split, p.MixLimit); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", limit, got, want, err)
		}
	}
}

func TestRecordingSettingsChecked(t *testing.T) {
	t.Parallel()
	refuses := func(part, why string) func(string) error {
		return func(s string) error {
			if strings.Contains(s, part) {
				return errors.New(why)
			}
			return nil
		}
	}
	b := newBench(t, func(c *Config) {
		c.CheckURL, c.CheckKey = refuses("10.0.0.1", "it is not public"), refuses("", "it has expired")
		c.CheckName = refuses("nobody", `unknown variable "nobody"`)
	})
	for patch, want := range map[string]struct{ field, says string }{
		`"recording":{"mode":"sometimes"}`:                                   {"recording.mode", "on-flag"},
		`"individual_recording":{"mode":""}`:                                 {"individual_recording.mode", "on-flag"},
		`"raw_recording":{"mode":"on"}`:                                      {"raw_recording.mode", "on-flag"},
		`"frame_recording":{"mode":"on-flag"}`:                               {"frame_recording.mode", "auto-on"},
		`"recording":{"quality":"420p"}`:                                     {"recording.quality", "vga"},
		`"recording":{"level":"best"}`:                                       {"recording.level", "low, medium, high"},
		`"recording":{"layout":{"name":"mosaic"}}`:                           {"recording.layout.name", "grid, speaker, screenshare, single"},
		`"recording":{"layout":{"name":"single:"}}`:                          {"recording.layout.name", "single:USER"},
		`"recording":{"mix_limit":0}`:                                        {"recording.mix_limit", "1 to 1000"},
		`"recording":{"mix_limit":1001}`:                                     {"recording.mix_limit", "1 to 1000"},
		`"recording":{"background":"red"}`:                                   {"recording.background", "#rrggbb"},
		`"recording":{"watermark":"` + strings.Repeat("ä", 65) + `"}`:        {"recording.watermark", "64"},
		`"recording":{"omit_users":["ok","a/b"]}`:                            {"recording.omit_users[1]", "A-Z"},
		`"recording":{"formats":[]}`:                                         {"recording.formats", "at least one"},
		`"recording":{"formats":null}`:                                       {"recording.formats", "at least one"},
		`"recording":{"formats":["flv"]}`:                                    {"recording.formats", "mp4, webm, hls"},
		`"individual_recording":{"sound_format":"mp3"}`:                      {"individual_recording.sound_format", "wav, wav-8bit"},
		`"recording":{"webm_codec":"av1"}`:                                   {"recording.webm_codec", "vp9, vp8"},
		`"individual_recording":{"formats":["avi"]}`:                         {"individual_recording.formats", "wav-8bit"},
		`"individual_recording":{"output_types":["smell"]}`:                  {"individual_recording.output_types", "audio_only"},
		`"recording":{"filename":"../x"}`:                                    {"recording.filename", "begin with a dot"},
		`"recording":{"filename":"/x"}`:                                      {"recording.filename", "slash"},
		`"recording":{"filename":"{{uuid"}`:                                  {"recording.filename", "placeholders"},
		`"recording":{"filename":"{{nobody}}"}`:                              {"recording.filename", "unknown variable"},
		`"recording":{"destination":"ftp://x"}`:                              {"recording.destination", "http"},
		`"recording":{"destination":"https://a:b@x/"}`:                       {"recording.destination", "password"},
		`"recording":{"destination":"https://10.0.0.1/"}`:                    {"recording.destination", "may be reached"},
		`"recording":{"encrypt_to":"secret"}`:                                {"recording.encrypt_to", "armored"},
		`"recording":{"encrypt_to":"-----BEGIN PGP PRIVATE KEY BLOCK-----"}`: {"recording.encrypt_to", "private"},
		`"recording":{"encrypt_to":` + fmt.Sprintf("%q", testKey) + `}`:      {"recording.encrypt_to", "it has expired"},
		`"recording":{"resume_timeout_seconds":-1}`:                          {"recording.resume_timeout_seconds", "0 to 1800"},
		`"recording":{"resume_timeout_seconds":1801}`:                        {"recording.resume_timeout_seconds", "0 to 1800"},
		`"recording":{"pre_roll_seconds":61}`:                                {"recording.pre_roll_seconds", "0 to 60"},
		`"recording":{"retention_hours":-1}`:                                 {"recording.retention_hours", "0 to 87"},
		`"recording":{"evidence_retention_hours":1.5}`:                       {"recording.evidence_retention_hours", "integer"},
		`"recording":{"period_minutes":-1}`:                                  {"recording.period_minutes", "0 to 43200"},
		// C-TC-2: the most depends on the format.
		`"recording":{"slice_minutes":121}`:                                                                           {"recording.slice_minutes", "1 to 120, which is the most for mp4"},
		`"recording":{"slice_minutes":-1}`:                                                                            {"recording.slice_minutes", "1 to 120"},
		`"recording":{"slice_minutes":721,"formats":["hls"]}`:                                                         {"recording.slice_minutes", "1 to 720"},
		`"recording":{"slice_minutes":121,"formats":["hls"]},"individual_recording":{"mode":"available"}`:             {"recording.slice_minutes", "auto"},
		`"recording":{"slice_minutes":121,"formats":["hls"],"split":true},"individual_recording":{"formats":["aac"]}`: {"recording.slice_minutes", "aac"},
	} {
		a := b.server(http.StatusBadRequest, "PUT", typesURL+"/default", `{"settings":{`+patch+`}}`)
		fields, _ := a.body["exception_fields"].(map[string]any)
		if got, _ := fields["settings."+want.field].(string); !strings.Contains(got, want.says) || len(fields) != 1 {
			t.Errorf("%s: %v, want %s with %q", patch, fields, want.field, want.says)
		}
	}
}

func TestRecordingSettingsTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, patch := range []string{
		`"recording":{"slice_minutes":120}`, `"recording":{"slice_minutes":1}`, `"recording":{"slice_minutes":0}`,
		`"recording":{"slice_minutes":720,"formats":["hls","webm"]}`,
		`"recording":{"slice_minutes":720,"formats":["hls"]},"individual_recording":{"mode":"auto-on","formats":["flv","hls"]}`,
		`"recording":{"resume_timeout_seconds":1800}`, `"recording":{"layout":{"name":"single:bob"}}`, `"recording":{"layout":{"name":"screenshare"}}`,
		`"recording":{"filename":"{{ date }}/{{userid}}-{{uuid}}"}`, `"recording":{"omit_users":null}`,
	} {
		b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{`+patch+`}}`)
		b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"recording":{"slice_minutes":0,"formats":["mp4"]},"individual_recording":{"mode":"disabled","formats":["auto"]}}}`)
	}
}

func TestUnknownNamesOfRecordingSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"recording":{"layout":{"name":"grid","options":{"anything":1},"detect_orientation":true}}}}`)
	for patch, want := range map[string]struct{ name, known string }{
		`{"recording":{"retention_days":7}}`:                    {"recording.retention_days", "retention_hours"},
		`{"recording":{"Mode":"disabled"}}`:                     {"recording.Mode", "mode"},
		`{"recording":{"layout":{"nam":"grid"}}}`:               {"recording.layout.nam", "name"},
		`{"individual_recording":{"format":["ogg"]}}`:           {"individual_recording.format", "formats"},
		`{"raw_recording":{"mode":"auto-on","audioonly":true}}`: {"raw_recording.audioonly", "audio_only"},
		`{"moderation_evidence":{"on-flag":true}}`:              {"moderation_evidence.on-flag", "mode"},
	} {
		for _, c := range []struct{ method, url, body, prefix string }{
			{"PUT", typesURL + "/default", `{"settings":` + patch + `}`, "settings."},
			{"POST", callURL, `{"data":{"created_by_id":"alice","settings_override":` + patch + `}}`, "data.settings_override."},
		} {
			a := b.server(http.StatusBadRequest, c.method, c.url, c.body)
			fields, _ := a.body["exception_fields"].(map[string]any)
			if text := fmt.Sprint(fields[c.prefix+want.name]); len(fields) != 1 || !strings.Contains(text, "is no setting") || !strings.Contains(text, want.known) {
				t.Errorf("%s %s: %v", c.method, patch, fields)
			}
		}
	}
}
