package web

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// still serves a picture with an edge in it, so that blur shows.
func still(w http.ResponseWriter, _ *http.Request) {
	m := image.NewRGBA(image.Rect(0, 0, 640, 360))
	for y := range 360 {
		for x := range 640 {
			c := color.RGBA{200, 40, 40, 255}
			if (x/40+y/40)%2 == 0 {
				c = color.RGBA{40, 40, 200, 255}
			}
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, m, nil)
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(b.Bytes())
}

// tab is a tab of a headless Chromium. Its methods end the test when they fail.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string
}

// open starts a Chromium of its own and loads the address.
func open(t *testing.T, address string, opts ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	bin, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: run make setup-test")
	}
	opts = append(append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(bin), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1400, 900)), opts...)
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	p := &tab{t: t, ctx: ctx}
	var listening sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		cancelAlloc()
		listening.Wait()
		if t.Failed() {
			t.Logf("the page logged:\n%s", strings.Join(p.logged(), "\n"))
		}
	})
	console := chromedp.Console(ctx)
	listening.Go(func() {
		for m, err := range console {
			if err != nil {
				return // the browser was closed
			}
			p.mu.Lock()
			p.messages = append(p.messages, fmt.Sprintf("%s %s %s", m.Type, m.Text, m.URL))
			p.mu.Unlock()
		}
	})
	p.do(chromedp.Navigate(address))
	return p
}

// logged lists what the page logged so far, exceptions and refusals of its
// content policy among them.
func (p *tab) logged() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.messages)
}

// quiet fails the test when the page logged anything else than what it is
// expected to.
func (p *tab) quiet(expected string) {
	p.t.Helper()
	has := func(m string) bool { return strings.Contains(m, expected) }
	testkit.Eventually(p.t, wait, func() bool { return slices.ContainsFunc(p.logged(), has) }, "the page logs "+expected)
	for _, m := range p.logged() {
		if !has(m) {
			p.t.Errorf("the page logged %s", m)
		}
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx := p.ctx
	if chromedp.FromContext(ctx).Target != nil { // the first call's context is the browser's
		limited, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		ctx = limited
	}
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// run runs a script.
func (p *tab) run(script string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](script))
}

// wait bounds every wait for the browser.
const wait = 30 * time.Second

// until waits until the expression is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	testkit.Eventually(p.t, wait, func() bool {
		yes, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && yes
	}, expression)
}

// text returns the text of the first element that the selector finds.
func (p *tab) text(selector string) string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).textContent", selector)))
	if err != nil {
		p.t.Fatalf("text of %s: %v", selector, err)
	}
	return text
}

// hover moves the pointer over the first element that the selector finds.
func (p *tab) hover(selector string) {
	p.t.Helper()
	at, err := chromedp.Run(p.ctx, chromedp.Evaluate[struct{ X, Y float64 }](fmt.Sprintf(
		"(() => { const r = document.querySelector(%q).getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 2}; })()", selector)))
	if err != nil {
		p.t.Fatalf("place of %s: %v", selector, err)
	}
	p.do(chromedp.MouseEvent(chromedp.MouseMoved, at.X, at.Y))
}

// space presses or releases the space bar.
func (p *tab) space(typ input.DispatchKeyEventType) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: " ", Code: "Space", WindowsVirtualKeyCode: 32})
	if err != nil {
		p.t.Fatal(err)
	}
}

// touch puts fingers on the page or takes them off.
func (p *tab) touch(typ input.DispatchTouchEventType, points ...*input.TouchPoint) {
	p.t.Helper()
	params := input.DispatchTouchEventParams{Type: typ, TouchPoints: append([]*input.TouchPoint{}, points...)}
	if _, err := chromedp.Call(p.ctx, input.DispatchTouchEvent, params); err != nil {
		p.t.Fatal(err)
	}
}

// shot keeps a screenshot where SCREENSHOTS says, for people.
func (p *tab) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Error(err)
	}
}

func TestConsoleInBrowser(t *testing.T) {
	b := started(t, func(c *Config) { c.Blobs = http.HandlerFunc(still) })
	// The browser's clock is the real one.
	b.now.Advance(time.Since(b.now.Now()))
	at := b.now.Now()
	b.insert(&db.UserRow{ID: "bob", Name: "Bob", Role: "user", CreatedAt: db.At(at), UpdatedAt: db.At(at)})
	p := open(t, "http://"+b.Addr()+"/console/")
	p.until(`!document.querySelector("[data-testid=login]").hidden`)
	p.shot("console-login")
	token := b.user("mo", auth.RoleModerator)
	p.run(`document.querySelector("#token").value = "` + token + `"; document.querySelector("#login-form").requestSubmit()`)
	p.until(`document.querySelector("[data-testid=link]").dataset.state === "live"`)
	p.until(`!document.querySelector("[data-testid=empty]").hidden`)

	f := event.FrameReady{FrameID: "f1", CID: "default:abc", UserID: "bob", TrackID: "t", TrackType: event.TrackVideo, CapturedAt: at, ObjectKey: "f1.jpg"}
	b.live.publish(event.TopicFrames, event.New(event.TypeFrameReady, "default:abc/bob", at, f))
	b.live.publish(event.TopicVerdicts, event.New(event.TypeVerdict, "default:abc/bob", at, event.Verdict{
		VerdictID: "v", Frame: f, State: event.VerdictKnown, At: at,
		Scores: []event.Score{{Label: "Drawing", Score: .02}, {Label: "Neutral", Score: .15}, {Label: "Porn", Score: .83}},
	}))
	p.until(`document.querySelector("[data-testid=still]")?.naturalWidth === 640`)
	p.until(`document.querySelector("[data-testid=scores]").textContent.includes("83 %")`)
	if name := p.text("[data-testid=name]"); name != "Bob" {
		t.Errorf("name %q", name)
	}
	const filter = `getComputedStyle(document.querySelector("[data-testid=still]")).filter`
	p.until(filter + `.includes("blur") && ` + filter + `.includes("grayscale(1)")`)
	p.hover("[data-testid=still]")
	p.until(filter + ` === "none"`)
	p.hover("header")
	p.until(filter + `.includes("blur")`)

	// With a finger: it shows while it is held, and the hover after it does not.
	p.touch(input.DispatchTouchEventTypeTouchStart, &input.TouchPoint{X: 100, Y: 180})
	p.until(filter + ` === "none"`)
	p.touch(input.DispatchTouchEventTypeTouchEnd)
	p.until(filter + `.includes("blur")`)
	p.until(`document.documentElement.classList.contains("touched")`)
	p.hover("[data-testid=still]")
	p.until(filter + ` === "none"`)
	p.hover("header")
	p.until(filter + `.includes("blur")`)

	// From the keyboard: held Space shows, and a new still does not end that.
	p.run(`document.querySelector("[data-testid=tile]").focus()`)
	p.space(input.DispatchKeyEventTypeKeyDown)
	p.until(filter + ` === "none"`)
	f.FrameID, f.ObjectKey = "f2", "f2.jpg"
	b.live.publish(event.TopicFrames, event.New(event.TypeFrameReady, "default:abc/bob", at, f))
	p.until(`document.querySelector("[data-testid=still]").src.includes("f2.jpg") && document.querySelectorAll("[data-testid=still]").length === 1`)
	p.until(filter + ` === "none"`)
	p.space(input.DispatchKeyEventTypeKeyUp)
	p.until(filter + `.includes("blur")`)

	order := event.ActionRequested{ActionID: "a", Kind: event.ActionBan, CID: "default:abc", UserID: "bob", ByUserID: "system", Reason: "nudity", CapturedAt: at}
	b.live.publish(event.TopicActions, event.New(event.TypeActionRequested, "default:abc/bob", at, order))
	b.live.publish(event.TopicConfirmed, event.New(event.TypeActionConfirmed, "default:abc/bob", at, event.ActionConfirmed{ActionRequested: order, ConfirmedAt: at.Add(187 * time.Millisecond)}))
	b.live.publish(event.TopicFrames, event.New(event.TypeFrameGap, "default:abc/bob", at, event.FrameGap{CID: "default:abc", UserID: "bob", TrackID: "t", Reason: event.GapMuted, From: at, To: at.Add(time.Second), Due: 1}))
	p.until(`document.querySelector("[data-testid=mark-ban]")?.textContent === "banned" && !document.querySelector("[data-testid=gap]").hidden`)
	p.until(`document.querySelector("[data-testid=clock]")?.textContent.includes("187 ms")`)
	p.shot("console-wall")

	p.run(`document.querySelector("[data-testid=logout]").click()`)
	p.until(`!document.querySelector("[data-testid=login]").hidden && document.querySelectorAll("[data-testid=tile]").length === 0`)
	p.quiet("401") // the first look at a session that is not there
}

func TestCallPageInBrowser(t *testing.T) {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"title":"Forbidden","status":403,"detail":"banned until 2027-01-01T00:00:00Z: nudity"}`))
	})
	b := started(t, func(c *Config) { c.WHIP = refuse })
	token := b.user("bob", "")
	p := open(t, "http://"+b.Addr()+"/call/default/abc?codec=VP8&hint=detail&audio=0#token="+token,
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true))
	p.until(`document.querySelector("[data-testid=token]")?.value.length > 20 && location.hash === ""`)
	if notice := p.text("[data-testid=notice]"); !strings.Contains(notice, "moderators may see it") {
		t.Errorf("notice %q", notice)
	}
	p.shot("call-join")
	p.run(`document.querySelector("[data-testid=join]").click()`)
	p.until(`document.querySelector("[data-testid=state]").dataset.state === "removed"`)
	if got := p.text("[data-testid=removed-reason]"); got != "You were removed and banned until 2027-01-01 00:00 UTC. Reason: nudity" {
		t.Errorf("reason %q", got)
	}
	p.until(`document.querySelector("[data-testid=preview]").srcObject === null`)
	p.shot("call-removed")
	p.quiet("403") // the refusal itself
}
