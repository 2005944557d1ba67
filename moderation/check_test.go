package moderation

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/moderation/policy"
)

func picture(c color.Color, w, h int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, c)
		}
	}
	return img
}

func asJPEG(img image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func asPNG(img image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// bomb is a PNG that says it has 60000×60000 pixels.
func bomb() []byte {
	b := asPNG(picture(color.Black, 1, 1))
	binary.BigEndian.PutUint32(b[16:], 60_000)
	binary.BigEndian.PutUint32(b[20:], 60_000)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

// red judges by colour: red is explicit, blue cannot be judged.
func red(_ context.Context, img image.Image) (event.Verdict, error) {
	r, _, b, _ := img.At(0, 0).RGBA()
	if b > 40_000 {
		return event.Verdict{}, errors.New("no model")
	}
	porn := 0.0
	if r > 40_000 {
		porn = 0.97
	}
	return event.Verdict{State: event.VerdictKnown, Scores: []event.Score{{Label: "Neutral", Score: 1 - porn}, {Label: "Porn", Score: porn}}}, nil
}

// shelf is an object store whose addresses are "signed:" and the key.
type shelf map[string][]byte

func (s shelf) Get(_ context.Context, key string) ([]byte, error) {
	if b, ok := s[key]; ok {
		return b, nil
	}
	return nil, errors.New("no such object")
}

func (s shelf) Opens(url string) (string, bool) { return strings.CutPrefix(url, "signed:") }

// clinic is a checker over real HTTP, with what it flagged.
type clinic struct {
	*world
	*Checker
	site  string
	mu    sync.Mutex
	flags []CheckFlag
}

func newClinic(t *testing.T, change ...func(*policy.Config)) *clinic {
	mux := http.NewServeMux()
	for name, body := range map[string][]byte{
		"red.jpg": asJPEG(picture(color.RGBA{255, 0, 0, 255}, 32, 32)), "green.png": asPNG(picture(color.RGBA{0, 255, 0, 255}, 32, 32)),
		"blue.png": asPNG(picture(color.RGBA{0, 0, 255, 255}, 8, 8)), "bomb.png": bomb(), "page.jpg": []byte("<html>hello</html>"),
		"half.jpg": asJPEG(picture(color.Black, 64, 64))[:200], "huge.jpg": append(asJPEG(picture(color.Black, 8, 8)), make([]byte, maxImageBytes)...),
		"moving.gif": []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
	} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg") // a lie, for some
			_, _ = w.Write(body)
		})
	}
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/red.jpg", http.StatusFound) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	guard := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	t.Cleanup(func() { _ = guard.Close() })
	rules := policy.Default()
	for _, c := range change {
		c(&rules)
	}
	c := &clinic{world: newWorld(t), site: srv.URL}
	c.Checker = NewChecker(CheckerConfig{
		DB: c.db, Bus: c.wire, Fetcher: guard, Judge: red, Policy: func() Policy { return rules },
		Objects: shelf{"frames/red.jpg": asJPEG(picture(color.RGBA{255, 0, 0, 255}, 16, 16)), "cases/red.jpg": []byte("secret")},
		Flag: func(_ context.Context, f CheckFlag) (string, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.flags = append(c.flags, f)
			return fmt.Sprint("item-", len(c.flags)), nil
		},
	})
	return c
}

// check carries out a check of images, twice, and returns its task.
func (c *clinic) check(change func(*event.CheckRequested), images ...string) db.TaskRow {
	c.Helper()
	for i, img := range images {
		if !strings.Contains(img, ":") && !strings.Contains(img, "/") {
			images[i] = c.site + "/" + img
		}
	}
	req := event.CheckRequested{
		TaskID: event.NewID(), EntityType: "user_profile", EntityID: "7", EntityCreatorID: "bob", ConfigKey: "call", ByUserID: "system", Decide: true,
		Payload: event.ModerationPayload{Images: images, Custom: map[string]any{"upload": "7"}},
	}
	if change != nil {
		change(&req)
	}
	row := db.TaskRow{ID: req.TaskID, Kind: TaskCheck, Object: req.TaskID, Status: db.TaskWaiting, Result: db.JSON[map[string]any]{V: map[string]any{}}}
	_, err := c.db.NewInsert().Model(&row).Exec(c.Context())
	c.ok(err)
	for range 2 {
		c.ok(c.Handle(c.Context(), event.New(event.TypeCheckRequested, "k", c.epoch, req)))
	}
	c.ok(c.db.NewSelect().Model(&row).Where("id = ?", req.TaskID).Scan(c.Context()))
	return row
}

// public are the events in the outbox by type, the newest of each.
func (c *clinic) public() map[string]json.RawMessage {
	c.Helper()
	var rows []db.OutboxRow
	c.ok(c.db.NewSelect().Model(&rows).Where("topic = ?", string(event.TopicPublic)).Order("seq").Scan(c.Context()))
	out := map[string]json.RawMessage{}
	for _, r := range rows {
		out[r.Envelope.V.Type] = r.Envelope.V.Data
	}
	return out
}

func (c *clinic) wantTold(types ...string) {
	c.Helper()
	if got := slices.Sorted(maps.Keys(c.public())); !slices.Equal(got, types) {
		c.Errorf("told %q, want %q", got, types)
	}
}

func TestACheckFlagsWhatMeetsThePolicy(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	task := c.check(nil, "green.png", "red.jpg")
	if task.Status != db.TaskCompleted || task.Result.V["recommended_action"] != "ban" || len(task.Result.V["images"].(map[string]any)) != 2 {
		t.Errorf("task = %+v", task)
	}
	if len(c.flags) != 1 || c.flags[0].Recommend != event.ActionBan || c.flags[0].Score != 0.97 || c.flags[0].Labels[0] != "Porn" {
		t.Errorf("flags = %+v", c.flags)
	}
	c.wantTold(event.CheckCompleted)
	var done event.CheckDone
	c.ok(json.Unmarshal(c.public()[event.CheckCompleted], &done))
	if done.RecommendedAction != "ban" || done.ReviewQueueItemID != "item-1" || done.EntityID != "7" {
		t.Errorf("completed = %+v", done)
	}
	if n := c.rows((*db.ActionRow)(nil)); n != 0 {
		t.Errorf("%d actions on one image", n)
	}
	var evs int
	for _, topic := range []event.Topic{event.TopicActions, event.TopicControl} {
		n, err := c.db.NewSelect().Model((*db.OutboxRow)(nil)).Where("topic = ?", string(topic)).Count(t.Context())
		c.ok(err)
		evs += int(n)
	}
	if evs != 0 {
		t.Errorf("%d orders", evs)
	}
}

func TestHarmlessImagesAreKept(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	if task := c.check(nil, "green.png"); task.Result.V["recommended_action"] != RecommendKeep || len(c.flags) != 0 {
		t.Errorf("task = %+v", task)
	}
	c.wantTold(event.CheckCompleted)
}

func TestStillsOfOurOwnAreReadFromTheStore(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	if task := c.check(nil, "frames/red.jpg", "signed:frames/red.jpg"); len(task.Result.V["images"].(map[string]any)) != 2 {
		t.Errorf("task = %+v", task)
	}
	if task := c.check(nil, "signed:cases/red.jpg", "frames/none.jpg"); task.Status != db.TaskFailed {
		t.Errorf("task = %+v", task)
	}
}

func TestWhatIsNotScreenedIsNeverClean(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]string{
		"bomb.png": "60000×60000", "page.jpg": "neither JPEG nor PNG", "half.jpg": "cannot be decoded", "huge.jpg": "larger than 10 MiB", "moving.gif": "neither JPEG nor PNG",
		"blue.png": "no model", "missing.jpg": "answered 404", "away": "answered 302", "http://10.0.0.1/?token=hush": "refused to reach", "ftp://x/y": "refused", "cases/red.jpg": "refused",
	} {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			c := newClinic(t)
			task := c.check(nil, name)
			failed, _ := task.Result.V["failed"].(map[string]any)["images[0]"].(string)
			if task.Status != db.TaskFailed || task.Result.V["recommended_action"] != RecommendReview || !strings.Contains(failed, why) || strings.Contains(failed, "hush") {
				t.Errorf("task = %+v", task)
			}
			c.wantTold(event.AnalysisFailed)
			if len(c.flags) != 0 {
				t.Error("flagged although the policy fails open")
			}
		})
	}
}

func TestTextsAreNotScreened(t *testing.T) {
	t.Parallel()
	c := newClinic(t, func(p *policy.Config) { p.Default.OnUnknown = policy.FailClosed })
	task := c.check(func(r *event.CheckRequested) { r.Payload.Texts = []string{"hello"} }, "green.png")
	if task.Result.V["recommended_action"] != RecommendReview {
		t.Errorf("task = %+v", task)
	}
	c.wantTold(event.AnalysisFailed, event.CheckCompleted)
	var failed event.FailedAnalysis
	c.ok(json.Unmarshal(c.public()[event.AnalysisFailed], &failed))
	if !slices.Equal(failed.ContentIDs, []string{"texts[0]"}) || failed.Custom["upload"] != "7" {
		t.Errorf("failed = %+v", failed)
	}
	if len(c.flags) != 1 || c.flags[0].Reason != "not screened" {
		t.Errorf("flags = %+v", c.flags)
	}
}

func TestAnAnalysisDecidesNothing(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	c.check(func(r *event.CheckRequested) { r.Decide = false }, "red.jpg", "blue.png")
	c.wantTold(event.AnalysisFailed, event.ImageAnalysisComplete)
	var done event.ImageAnalysis
	c.ok(json.Unmarshal(c.public()[event.ImageAnalysisComplete], &done))
	if len(done.Images) != 1 || done.Images["images[0]"].Labels["Porn"] != 0.97 || done.ReviewQueueItemID != "" || len(c.flags) != 0 {
		t.Errorf("complete = %+v", done)
	}
}

// TestTestModeActsOnNothing: the outcome is in the task, and nowhere else. What
// finds it, trial, holds nothing by which it could act.
func TestTestModeActsOnNothing(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	task := c.check(func(r *event.CheckRequested) { r.TestMode = true }, "red.jpg", "blue.png")
	if task.Status != db.TaskCompleted || task.Result.V["recommended_action"] != "ban" {
		t.Errorf("task = %+v", task)
	}
	c.wantTold()
	if len(c.flags) != 0 || c.rows((*db.OutboxRow)(nil)) != 0 {
		t.Error("a dry run acted")
	}
}

func TestACheckByTheConfigOfItsKey(t *testing.T) {
	t.Parallel()
	c := newClinic(t, func(p *policy.Config) {
		*p = p.With(nil, []policy.CallConfig{{Key: "avatars", Image: &policy.ImageConfig{Enabled: true, Rules: []policy.ImageRule{{Label: "Porn", Action: "flag", MinConfidence: 0.5}}}}})
	})
	task := c.check(func(r *event.CheckRequested) { r.ConfigKey = "avatars" }, "red.jpg")
	if task.Result.V["recommended_action"] != "flag" || task.Result.V["rule"] != "avatars/Porn/flag" {
		t.Errorf("task = %+v", task)
	}
}

func FuzzDecodeImage(f *testing.F) {
	for _, seed := range [][]byte{asJPEG(picture(color.White, 4, 4)), asPNG(picture(color.White, 4, 4)), bomb(), []byte("GIF89a"), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		img, err := decodeImage(body)
		if (img == nil) == (err == nil) {
			t.Fatalf("image %v, error %v", img, err)
		}
		if img != nil && img.Bounds().Dx()*img.Bounds().Dy() > maxImagePixels {
			t.Fatalf("decoded %v", img.Bounds())
		}
	})
}
