package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"stillwatch/web/apidoc"
)

func TestDocsNeedNoToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for path, typ := range map[string]string{
		apidoc.YAMLPath: "application/yaml", apidoc.JSONPath: "application/json",
		apidoc.PagePath: "text/html", apidoc.Prefix + "apidoc.css": "text/css", errorsPath: "text/html",
	} {
		a := b.want(http.StatusOK, b.do("", "GET", path, nil))
		if !strings.HasPrefix(a.header.Get("Content-Type"), typ) {
			t.Errorf("%s is %s", path, a.header.Get("Content-Type"))
		}
	}
}

func TestDocsInBrowser(t *testing.T) {
	b := started(t)
	p := open(t, "http://"+b.Addr()+apidoc.PagePath)
	p.until(`getComputedStyle(document.querySelector("header")).position === "sticky"`)
	p.shot("docs-api")
	p.do(chromedp.Navigate("http://" + b.Addr() + apidoc.PagePath + "#getOrCreateCall"))
	// The browser unfolds what an address points into.
	p.until(`document.querySelector("#getOrCreateCall").closest("details").open`)
	p.until(`document.querySelector("#getOrCreateCall").getBoundingClientRect().top < 200`)
	p.shot("docs-api-operation")
	p.run(`document.querySelector("#getOrCreateCall a[href='#schema-GetOrCreateCallRequest']").click()`)
	p.until(`document.querySelector("#schema-GetOrCreateCallRequest").closest("details").open`)
	p.scheme("dark")
	p.until(`getComputedStyle(document.body).backgroundColor === "rgb(14, 20, 26)"`)
	p.do(chromedp.Navigate("http://" + b.Addr() + apidoc.PagePath + "?open#updateCallType"))
	p.until(`document.querySelectorAll(".operation:not([open])").length === 0`)
	p.shot("docs-api-dark")
	p.do(chromedp.EmulateViewport(420, 900))
	p.until(`document.documentElement.scrollWidth <= 420`)
	p.shot("docs-api-phone")
	if logged := p.logged(); len(logged) > 0 {
		t.Errorf("the page logged %q", logged)
	}
}

// scheme makes the page believe that its reader wants light or dark.
func (p *tab) scheme(name string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}
